package relay

import "github.com/architus/guildcast/history"

// leaseScript takes or renews the lease, for ARGV[2] ms. A relay that is not sure waits ARGV[3] ms longer, so that one
// that is sure goes first. The script returns the epoch of the lease, or 0 if another relay has it, and whether this is
// the first lease ever. Epochs are times, so that they grow even if Redis loses the lease.
const leaseScript = `
local key, id, ms, grace = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local have = redis.call('HMGET', key, 'id', 'epoch', 'until')
local epoch, over = tonumber(have[2] or 0), tonumber(have[3] or 0)
if have[1] == id and now < over and grace == 0 then
  redis.call('HSET', key, 'until', string.format('%.0f', now + ms))
  return {epoch, 0}
end
if have[1] and now < over + grace then return {0, 0} end
epoch = math.max(now, epoch + 1)
redis.call('HSET', key, 'id', id, 'epoch', string.format('%.0f', epoch), 'until', string.format('%.0f', now + ms))
return {epoch, have[1] and 0 or 1}
`

// releaseScript ends the lease of ARGV[1] now.
const releaseScript = `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))
return 1
`

// sayScript publishes ARGV[4] on the control channel ARGV[3] if ARGV[1] leads, in epoch ARGV[2].
const sayScript = `
local have = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'until')
local t = redis.call('TIME')
if have[1] ~= ARGV[1] or have[2] ~= ARGV[2] or t[1] * 1000 + math.floor(t[2] / 1000) >= tonumber(have[3]) then return 0 end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
`

// fenceScript shuts relays that led before epoch ARGV[1] out of a guild, and publishes ARGV[3] on the control channel
// ARGV[2]. A relay that hears that has heard of everything that was published before.
const fenceScript = `
local fence = redis.call('GET', KEYS[1])
if fence and tonumber(fence) > tonumber(ARGV[1]) then return redis.error_reply('FENCED by a later epoch') end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 86400000)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
`

// publishScript publishes events of one guild durably and says which, if epoch ARGV[1] is that of the fence. KEYS are
// the history and the fence. ARGV are the epoch, the control channel, the beginning of what to say there, the most
// entries, the longest age, and then channel, message and hash of each event. The script stops at the first event that
// Redis refuses. It returns the number of events that it published, and the refusal.
const publishScript = `
local publish = function(KEYS, ARGV)
` + history.Script + `
end
local fence = redis.call('GET', KEYS[2])
if not fence or tonumber(fence) < tonumber(ARGV[1]) then return redis.error_reply('UNFENCED') end
if fence ~= ARGV[1] then return redis.error_reply('FENCED by a later epoch') end
local said, n, refusal = ARGV[3], 0, ''
for i = 6, #ARGV, 3 do
  local ok, id = pcall(publish, {KEYS[1]}, {ARGV[i], ARGV[i + 1], ARGV[4], ARGV[5]})
  if not ok or type(id) == 'table' then
    refusal = type(id) == 'table' and id['err'] or id
    break
  end
  n = n + 1
  said = said .. ' ' .. ARGV[i + 2]
end
if n > 0 then redis.call('PUBLISH', ARGV[2], said) end
return {n, refusal}
`
