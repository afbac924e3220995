package history

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"

	goredis "github.com/redis/go-redis/v9"
)

// script is a Lua script with one key. Its text is sent only if Redis does not know it yet.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return script{text, hex.EncodeToString(sum[:])}
}

var publish = newScript(Script)

// run runs a script that only reads.
func (s script) run(ctx context.Context, client goredis.UniversalClient, key string, args ...any) *goredis.Cmd {
	return s.process(ctx, func(cmd *goredis.Cmd) { _ = client.Process(ctx, cmd) }, key, args)
}

// once runs a script that go-redis must not repeat after a lost connection, because Redis may have run it.
func (s script) once(ctx context.Context, client goredis.UniversalClient, key string, args ...any) *goredis.Cmd {
	return s.process(ctx, func(cmd *goredis.Cmd) { _ = client.Process(ctx, unrepeated{cmd}) }, key, args)
}

func (s script) process(ctx context.Context, do func(*goredis.Cmd), key string, args []any) *goredis.Cmd {
	cmd := s.bySHA(ctx, key, args)
	do(cmd)
	if goredis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = s.byText(ctx, key, args)
		do(cmd)
	}
	return cmd
}

func (s script) bySHA(ctx context.Context, key string, args []any) *goredis.Cmd {
	return goredis.NewCmd(ctx, append([]any{"EVALSHA", s.sha, 1, key}, args...)...)
}

func (s script) byText(ctx context.Context, key string, args []any) *goredis.Cmd {
	return goredis.NewCmd(ctx, append([]any{"EVAL", s.text, 1, key}, args...)...)
}

// unrepeated is a command that go-redis sends once.
type unrepeated struct{ *goredis.Cmd }

// NoRetry reports that go-redis must not send the command again.
func (unrepeated) NoRetry() bool { return true }

// wholeFunction defines whole(key, first, p) in Lua, which reports whether no entry after position p is missing. first
// is the id of the first entry from p on, or nil. Nothing is missing if the history has the entry at p, if that was the
// last one to be trimmed, or if p is before everything and nothing was ever trimmed.
const wholeFunction = `
local function pairsOf(list)
  local t = {}
  for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
  return t
end
local function whole(key, first, p)
  if first == p then return true end
  if redis.call('EXISTS', key) == 0 then return p == '0-0' end
  local stream, mark = pairsOf(redis.call('XINFO', 'STREAM', key)), nil
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local g = pairsOf(group)
    if g['name'] == 'trimmed' then mark = g end
  end
  local added = stream['entries-added'] -- nil before Redis 7
  local gone = added and added - stream['length']
  if p == '0-0' then return not mark and (not gone or gone == 0) end
  return mark and mark['last-delivered-id'] == p and (not gone or mark['entries-read'] == gone)
end
`

// wholeScript returns 1 if no entry after position ARGV[1] is missing, although the history lacks the entry at that
// position.
var wholeScript = newScript(wholeFunction + `
return whole(KEYS[1], nil, ARGV[1]) and 1 or 0
`)

// lastScript returns the id of the last entry, or nil.
var lastScript = newScript(`
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return last and last[1]
`)

// marksScript returns three things: whether no entry after position ARGV[1] is missing, the id of the history's last
// entry, and the ids and topics of at most ARGV[2] entries from that position on. A garbage entry has an empty topic.
var marksScript = newScript(wholeFunction + `
local function topic(fields)
  local f = pairsOf(fields)
  if #fields == 4 and f['m'] and (f['t'] == 'pool' or f['t'] == 'logs') then return f['t'] end
  return ''
end
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local out = {whole(KEYS[1], entries[1] and entries[1][1], ARGV[1]) and 1 or 0, last and last[1] or '0-0'}
for _, entry in ipairs(entries) do
  out[#out + 1] = entry[1]
  out[#out + 1] = topic(entry[2])
end
return out
`)
