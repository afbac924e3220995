package handlers

// Events that clients send.
const (
	eventRequestElevation = "request_elevation"
	eventDemote           = "demote"
	eventSpectate         = "spectate"
	eventPool             = "pool"
	eventInterpret        = "interpret"
)

// Events that clients get, beside those of guilds.
const (
	eventElevationReturn   = "request_elevation_return"
	eventElevationExpiring = "elevation_expiring"
	eventElevationExpired  = "elevation_expired"
	eventSpectateReturn    = "spectate_return"
	eventPoolResponse      = "pool_response"
	eventInterpretResponse = "interpret_response"
	eventResync            = "resync"
	eventError             = "error"
)
