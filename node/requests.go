package node

import (
	"context"

	"github.com/architus/guildcast/redis"
)

// noWorkers answers requests where there is no way to a worker.
type noWorkers struct{}

func (noWorkers) Do(context.Context, string, string, []byte, func([]byte) error) error {
	return redis.ErrUnavailable
}

func (noWorkers) Close() {}
