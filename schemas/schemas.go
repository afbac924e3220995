// Package schemas holds the schemas of everything that guildcast's nodes, clients, backends and workers say to each
// other. The folder source is their one source; everything else is generated from it.
package schemas

import "embed"

//go:generate go run ./generate

// Files has the generated schemas: asyncapi.yaml, and a JSON Schema for each message and entity in
// json/events, json/redis and json/entities.
//
//go:embed asyncapi.yaml json
var Files embed.FS
