package adapter

import (
	"strings"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// describe is what a server answers about one of its sockets, with the keys, and the types, that Node.js servers have.
func describe(s socket.SocketDetails) wire.Object {
	data := s.Data()
	if data == nil {
		data = map[string]any{}
	}
	rooms := []string{}
	if set := s.Rooms(); set != nil {
		for _, r := range set.Keys() {
			rooms = append(rooms, string(r))
		}
	}
	return wire.Object{
		{Key: "id", Value: string(s.Id())},
		{Key: "handshake", Value: describeHandshake(s)},
		{Key: "rooms", Value: rooms},
		{Key: "data", Value: data},
	}
}

func describeHandshake(s socket.SocketDetails) wire.Object {
	h := s.Handshake()
	if h == nil {
		h = &socket.Handshake{}
	}
	headers := map[string]any{}
	for name, values := range h.Headers {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if local, ok := s.(*socket.Socket); ok && headers["host"] == nil { // net/http keeps it elsewhere
		if r := local.Request(); r != nil && r.Request() != nil {
			headers["host"] = r.Request().Host
		}
	}
	query := map[string]any{}
	for name, values := range h.Query {
		if len(values) == 1 {
			query[name] = values[0]
		} else {
			query[name] = values
		}
	}
	auth := h.Auth
	if auth == nil {
		auth = map[string]any{}
	}
	issued := time.UnixMilli(h.Issued).UTC()
	return wire.Object{
		{Key: "headers", Value: headers},
		{Key: "time", Value: issued.Format("Mon Jan 02 2006 15:04:05") + " GMT+0000 (Coordinated Universal Time)"},
		{Key: "address", Value: h.Address},
		{Key: "xdomain", Value: h.Xdomain},
		{Key: "secure", Value: h.Secure},
		{Key: "issued", Value: h.Issued},
		{Key: "url", Value: h.Url},
		{Key: "query", Value: query},
		{Key: "auth", Value: auth},
	}
}
