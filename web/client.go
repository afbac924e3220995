package web

import (
	"embed"
	"io/fs"
)

//go:embed client
var client embed.FS

// ClientFiles returns the files of the browser client that guildcast carries, for engine.Options.ClientFiles:
// socket.io.esm.min.js, and socket.io.min.js, which serves as socket.io.js too.
func ClientFiles() fs.FS {
	files, err := fs.Sub(client, "client")
	if err != nil {
		panic(err) // the name above is wrong
	}
	return clientFiles{files}
}

type clientFiles struct{ fs.FS }

// Open implements fs.FS.
func (c clientFiles) Open(name string) (fs.File, error) {
	if name == "socket.io.js" {
		name = "socket.io.min.js"
	}
	return c.FS.Open(name)
}
