package adapter

import (
	"slices"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// reversed is msgpack backwards.
type reversed struct{}

func (reversed) Encode(v any) ([]byte, error) {
	b, err := wire.AppendMsgpack([]byte{'!'}, v)
	slices.Reverse(b)
	return b, err
}

func (reversed) Decode(b []byte) (any, error) {
	b = slices.Clone(b)
	slices.Reverse(b)
	v, err := wire.Parse(b[1:])
	return v.Go(nil), err
}
