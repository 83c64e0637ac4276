-- Claim leases that have lapsed.
--
-- KEYS  1 due, 2 values, 3 claims: see hold.lua
-- ARGV  1 milliseconds for which nobody else is given what is claimed
--       2 most names
--       3 milliseconds after which a lapse is forgotten
--
-- Promise: returns {name, value, name, value, ...}, each of which is this caller's until the time is over, it is released
-- or held again. Those longest due come first.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest, limit = string.format('(%.0f', now - ARGV[3]), tonumber(ARGV[2])
local answer = {}
local skip, CHUNK = 0, 100
while #answer < 2 * limit do
  local names = redis.call('ZRANGEBYSCORE', KEYS[1], oldest, string.format('%.0f', now), 'LIMIT', skip, CHUNK)
  for _, name in ipairs(names) do
    local claimed = redis.call('ZSCORE', KEYS[3], name)
    if #answer < 2 * limit and (not claimed or tonumber(claimed) <= now) then
      redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[1]), name)
      answer[#answer + 1] = name
      answer[#answer + 1] = redis.call('HGET', KEYS[2], name) or ''
    end
  end
  if #names < CHUNK then
    break
  end
  skip = skip + CHUNK
end
if #answer > 0 then
  redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', KEYS[1]), 1))
end
return answer
