package permissions

// Level is a coarse name for a class. There are few, so that it may label a metric: classes are as many as the tokens
// in use make them.
type Level string

// Levels, from the highest; a class has the first that fits.
const (
	LevelArchitusAdmin Level = "architus_admin"
	LevelAdministrator Level = "administrator"
	LevelPrivateLogs   Level = "private_logs"
	LevelPublicLogs    Level = "public_logs"
	LevelMember        Level = "member"
)

func (c *class) level() Level {
	switch {
	case c.architusAdmin:
		return LevelArchitusAdmin
	case c.bits.Has(Administrator):
		return LevelAdministrator
	case c.bits.Has(ViewPrivateLogs):
		return LevelPrivateLogs
	case c.bits.Has(ViewPublicLogs):
		return LevelPublicLogs
	}
	return LevelMember
}
