"""What publishes an event durably."""

#: As `guildcast publish --print-script` prints it. A test compares them.
SCRIPT = r"""-- guildcast publish script, version 2
-- KEYS[1] guildcast:history:{<guild_id>}
-- ARGV    <channel> <message> <most entries> <longest age in ms> [<beginning> <after>]
-- If an entry of the topic after position <after> has a message with this beginning, the event is in the history
-- already, and nothing happens.
-- Returns the id of the entry, which is the position of the event.
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
local sharded = string.sub(name, -1) == '}'
if string.sub(name, -#guild) ~= guild and string.sub(name, -#guild - 2) ~= '{' .. guild .. '}' then
  return redis.error_reply('ERR the channel is not a topic of the guild of the key')
end
if not most or not age or age < 0 then
  return redis.error_reply('ERR the most entries or the longest age is not a number')
end
local limit = ARGV[3] -- numbers go to Redis as text: it is slow at writing those of Lua
if most < 1 then most, limit = 1, '1' end
if #message > 4194304 then
  return redis.error_reply('ERR the message is larger than 4 MiB')
end
local beginning = ARGV[5]
if beginning and beginning ~= '' then
  for _, entry in ipairs(call('XREVRANGE', key, '+', '(' .. (ARGV[6] or '0-0'))) do
    local t, m = entry[2][2], entry[2][4]
    if t == topic and m and string.sub(m, 1, #beginning) == beginning then return entry[1] end
  end
end
local redis7 = redis.REDIS_VERSION_NUM -- before, a stream does not count what was added to it

-- trimmed notes the last entry that was trimmed, as where a consumer group stands: who has read up to there misses
-- nothing. What MAXLEN trims afterwards is seen by the number of entries that are gone or, before 7, noted as unknown.
local function trimmed(last)
  call('XGROUP', 'DESTROY', key, 'trimmed')
  if not redis7 then return call('XGROUP', 'CREATE', key, 'trimmed', last) end
  local info, n = call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do n[info[i]] = info[i + 1] end
  call('XGROUP', 'CREATE', key, 'trimmed', last, 'ENTRIESREAD', n['entries-added'] - n['length'])
end

local id
if redis7 then
  id = call('XADD', key, 'MAXLEN', '=', limit, '*', 't', topic, 'm', message)
else
  id = call('XADD', key, '*', 't', topic, 'm', message)
end
local ok, err = pcall(function()
  if not redis7 and call('XTRIM', key, 'MAXLEN', '=', limit) > 0 then trimmed('0-0') end
  if string.sub(id, -2) == '-0' then -- once a millisecond is enough
    local from = string.sub(id, 1, -3) - age
    local old = string.format('%d', from - 1)
    -- XREVRANGE alone would go through the whole history if nothing is too old.
    if from > 0 and call('XRANGE', key, '-', old, 'COUNT', '1')[1] then
      local last = call('XREVRANGE', key, old, '-', 'COUNT', '1')[1]
      call('XTRIM', key, 'MINID', '=', string.format('%d', from))
      trimmed(last[1])
    end
    -- The history of a guild that is silent does not stay for ever.
    call('PEXPIRE', key, string.format('%d', age + 86400000))
  end
  -- Messages that are too small for this are less than 2 MiB together.
  if #message * most > 2097152 then
    -- shorten trims from the front what is more than 12 MiB, if the history is larger than 14 MiB.
    local function shorten()
      local function size(entry)
        local bytes = 0
        for _, text in ipairs(entry[2]) do bytes = bytes + #text end
        return bytes
      end
      local bytes = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
      if type(bytes) ~= 'number' then -- Redis does not tell
        bytes = 0
        for _, entry in ipairs(call('XRANGE', key, '-', '+')) do bytes = bytes + size(entry) end
      end
      if bytes <= 14680064 then return end
      local entries, last = call('XLEN', key), nil
      while bytes > 12582912 and entries > 1 do
        local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
        last, bytes, entries = first[1], bytes - size(first), entries - 1
        call('XTRIM', key, 'MAXLEN', '=', entries)
      end
      if last then trimmed(last) end
    end
    shorten()
  end
  call(sharded and 'SPUBLISH' or 'PUBLISH', channel, id .. ' ' .. message)
end)
if ok then return id end
call('XDEL', key, id) -- Redis has refused a part: nobody has heard of the event
if type(err) == 'table' then return err end
return redis.error_reply(err)
"""
