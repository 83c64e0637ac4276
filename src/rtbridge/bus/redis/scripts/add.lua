-- Store a record if there is none.
--
-- KEYS  1 record
-- ARGV  1 value
--       2 milliseconds to keep it
--
-- Promise: returns nil if it was stored, else the value that is there and stays.

local there = redis.call('GET', KEYS[1])
if not there then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return there
