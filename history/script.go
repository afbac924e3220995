package history

import "time"

// Defaults of what is kept of a guild's events.
const (
	DefaultMaxEntries = 1000
	DefaultMaxAge     = time.Hour
)

// Script publishes an event durably: it adds it to the history of its guild, bounds that history, and publishes it. It
// is the same on Redis from 6.2 on, on a Redis Cluster, and on the Redis embedded in a node. Either all of it happens
// or, if Redis refuses a part, nothing does.
//
// Nodes hear "<position> <message>". docs/reference/redis.md documents what others may rely on.
const Script = `-- guildcast publish script, version 1
-- KEYS[1] guildcast:history:{<guild_id>}
-- ARGV    <channel> <message> <most entries> <longest age in ms>
-- Returns the id of the new entry, which is the position of the event.
local call, key, channel, message = redis.call, KEYS[1], ARGV[1], ARGV[2]
local most, age = tonumber(ARGV[3]), tonumber(ARGV[4])
local guild = string.match(key, '^guildcast:history:{(%d+)}$')
local name, topic = channel, 'pool'
if string.sub(channel, -5) == '_logs' then
  name, topic = string.sub(channel, 1, -6), 'logs'
end
if not guild then
  return redis.error_reply('ERR the key is not guildcast:history:{<guild_id>}')
end
local sharded = string.sub(name, -#guild - 2) == '{' .. guild .. '}'
if not sharded and string.sub(name, -#guild) ~= guild then
  return redis.error_reply('ERR the channel is not a topic of the guild of the key')
end
if not most or not age or age < 0 then
  return redis.error_reply('ERR the most entries or the longest age is not a number')
end
if #message > 4194304 then
  return redis.error_reply('ERR the message is larger than 4 MiB')
end
most = math.max(1, math.floor(most))
local limit = string.format('%.0f', most)
local redis7 = redis.REDIS_VERSION_NUM -- before, a stream does not count what was added to it

-- trimmed notes the last entry that was trimmed, as where a consumer group stands: who has read up to there misses
-- nothing. What MAXLEN trims afterwards is seen by the number of entries that are gone or, before 7, noted as unknown.
local function trimmed(last)
  call('XGROUP', 'DESTROY', key, 'trimmed')
  if not redis7 then
    call('XGROUP', 'CREATE', key, 'trimmed', last)
    return
  end
  local info, n = call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do n[info[i]] = info[i + 1] end
  call('XGROUP', 'CREATE', key, 'trimmed', last, 'ENTRIESREAD', n['entries-added'] - n['length'])
end

local function size(entry)
  local bytes = 0
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  return bytes
end

-- used returns about how many bytes the history takes.
local function used()
  local bytes = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
  if type(bytes) == 'number' then return bytes end
  bytes = 0
  for _, entry in ipairs(call('XRANGE', key, '-', '+')) do bytes = bytes + size(entry) end
  return bytes
end

-- bound trims what is too old and what is too much.
local function bound(id)
  if not redis7 and call('XTRIM', key, 'MAXLEN', '=', limit) > 0 then trimmed('0-0') end
  local from = tonumber(string.match(id, '^%d+')) - age
  if from >= 1 then
    local oldest = string.format('%.0f-0', from)
    local old = call('XREVRANGE', key, '(' .. oldest, '-', 'COUNT', 1)[1]
    if old then
      call('XTRIM', key, 'MINID', '=', oldest)
      trimmed(old[1])
    end
  end
  -- Messages that are not looked at here are 2 MiB together, and the others 14 MiB.
  if #message * most <= 2097152 then return end
  local bytes = used()
  if bytes <= 14680064 then return end
  local entries, last = call('XLEN', key), nil
  while bytes > 12582912 and entries > 1 do
    local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    last, bytes, entries = first[1], bytes - size(first), entries - 1
    call('XTRIM', key, 'MAXLEN', '=', entries)
  end
  if last then trimmed(last) end
end

local id
if redis7 then
  id = call('XADD', key, 'MAXLEN', '=', limit, '*', 't', topic, 'm', message)
else
  id = call('XADD', key, '*', 't', topic, 'm', message)
end
local ok, err = pcall(function()
  bound(id)
  -- A guild that is silent does not stay for ever.
  call('PEXPIRE', key, string.format('%.0f', age + 86400000))
  call(sharded and 'SPUBLISH' or 'PUBLISH', channel, id .. ' ' .. message)
end)
if ok then return id end
call('XDEL', key, id) -- Redis has refused a part: nobody has heard of the event
if type(err) == 'table' then return err end
return redis.error_reply(err)
`
