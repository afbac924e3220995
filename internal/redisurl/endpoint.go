package redisurl

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// newClusterNode makes go-redis's client of one server of a cluster. A server that does not know by which host it is
// reached (cluster-preferred-endpoint-type unknown-endpoint) says none, in its layout and its redirections: it is the
// host that was dialled. go-redis can't read that.
func newClusterNode(o *goredis.Options) *goredis.Client {
	c := goredis.NewClient(o)
	if host, _, err := net.SplitHostPort(o.Addr); err == nil {
		c.AddHook(namelessHost(host))
	}
	return c
}

// namelessHost is the host that is meant if a server says none.
type namelessHost string

// DialHook implements goredis.Hook.
func (namelessHost) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessPipelineHook implements goredis.Hook. Redirections of pipelines are read below it: the dialler completes them.
func (namelessHost) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// ProcessHook implements goredis.Hook.
func (h namelessHost) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		slots, ok := cmd.(*goredis.ClusterSlotsCmd)
		if !ok {
			return h.redirection(next(ctx, cmd))
		}
		raw := goredis.NewSliceCmd(ctx, slots.Args()...)
		err := next(ctx, raw)
		if err == nil {
			var layout []goredis.ClusterSlot
			if layout, err = h.layout(raw.Val()); err == nil {
				slots.SetVal(layout)
			}
		}
		slots.SetErr(err)
		return err
	}
}

// redirection completes MOVED and ASK.
func (h namelessHost) redirection(err error) error {
	if err == nil {
		return nil
	}
	fields := strings.Fields(err.Error())
	if len(fields) != 3 || fields[0] != "MOVED" && fields[0] != "ASK" {
		return err
	}
	port, ok := strings.CutPrefix(strings.TrimPrefix(fields[2], "?"), ":")
	if !ok || strings.Contains(port, ":") {
		return err
	}
	return redirection(fields[0] + " " + fields[1] + " " + net.JoinHostPort(string(h), port))
}

// redirection is an error that Redis answers.
type redirection string

func (r redirection) Error() string { return string(r) }

// RedisError implements goredis.Error.
func (redirection) RedisError() {}

// layout reads what CLUSTER SLOTS answers: ranges of slots, each with its servers, the primary first.
func (h namelessHost) layout(ranges []any) ([]goredis.ClusterSlot, error) {
	layout := make([]goredis.ClusterSlot, 0, len(ranges))
	for _, r := range ranges {
		r, _ := r.([]any)
		if len(r) < 2 {
			return nil, fmt.Errorf("cluster slots: unexpected range %.200v", r)
		}
		first, ok1 := r[0].(int64)
		last, ok2 := r[1].(int64)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("cluster slots: unexpected range %.200v", r)
		}
		slot := goredis.ClusterSlot{Start: int(first), End: int(last)}
		for _, server := range r[2:] {
			node, err := h.server(server)
			if err != nil {
				return nil, err
			}
			slot.Nodes = append(slot.Nodes, node)
		}
		layout = append(layout, slot)
	}
	return layout, nil
}

// server reads a host, which may be missing, a port, and, since Redis 4, an id; more is for people.
func (h namelessHost) server(v any) (goredis.ClusterNode, error) {
	fields, _ := v.([]any)
	if len(fields) < 2 {
		return goredis.ClusterNode{}, fmt.Errorf("cluster slots: unexpected server %.200v", v)
	}
	port, ok := fields[1].(int64)
	if !ok {
		return goredis.ClusterNode{}, fmt.Errorf("cluster slots: unexpected server %.200v", v)
	}
	host, _ := fields[0].(string)
	if host == "" || host == "?" {
		host = string(h)
	}
	node := goredis.ClusterNode{Addr: net.JoinHostPort(host, strconv.FormatInt(port, 10))}
	if len(fields) > 2 {
		node.ID, _ = fields[2].(string)
	}
	return node, nil
}
