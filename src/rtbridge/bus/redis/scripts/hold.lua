-- Take or renew a lease. See once.lua, too.
--
-- KEYS  1 due: sorted set of names by the millisecond in which they lapse
--       2 values: hash of names
--       3 claims: sorted set of lapsed names that were handed out, by the millisecond until which they are
-- ARGV  1 name
--       2 milliseconds until it lapses
--       3 value
--       4 milliseconds after which a lapse is forgotten
--
-- Promise: answers 1 if others may think it gone (it was absent, or its lapse had been claimed), else 0.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local there = redis.call('ZSCORE', KEYS[1], ARGV[1])
local claimed = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])

-- Two with each renewal: more than it adds.
local forgotten = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[4]), 'LIMIT', 0, 2)
for _, name in ipairs(forgotten) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
end
local ttl = ARGV[2] + ARGV[4]
for i = 1, 3 do
  if redis.call('PTTL', KEYS[i]) < ttl then
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', ttl))
  end
end
return answer((not there or claimed == 1) and '1' or '0')
