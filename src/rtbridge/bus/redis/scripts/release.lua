-- Remove a lease. See once.lua, too.
--
-- KEYS  1 due, 2 values, 3 claims: see hold.lua
-- ARGV  1 name
--       2 1 to leave it where it is held
--
-- Promise: answers 1 if it was there and no longer is, else 0.

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then
  return answer('0')
end
if ARGV[2] == '1' then
  local time = redis.call('TIME')
  if tonumber(due) > time[1] * 1000 + math.floor(time[2] / 1000) then
    return answer('0')
  end
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return answer('1')
