package adapter

import (
	"io"

	"github.com/zishang520/socket.io-go-parser/v2/parser"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// replayable returns p with every plain reader in its data read: it goes out twice, to Redis and to local sockets.
func replayable(p *parser.Packet) (*parser.Packet, error) {
	if !hasReader(p.Data) {
		return p, nil
	}
	data, err := readAll(p.Data)
	if err != nil {
		return p, err
	}
	q := *p
	q.Data = data
	return &q, nil
}

func hasReader(v any) bool {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			if hasReader(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range x {
			if hasReader(e) {
				return true
			}
		}
	case interface{ Bytes() []byte }: // a buffer, which can be looked at
		return false
	case io.Reader:
		return true
	}
	return false
}

func readAll(v any) (any, error) {
	var err error
	switch x := v.(type) {
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			if out[i], err = readAll(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			if out[k], err = readAll(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case interface{ Bytes() []byte }:
		return v, nil
	case io.Reader:
		return wire.ReadAll(x)
	}
	return v, nil
}
