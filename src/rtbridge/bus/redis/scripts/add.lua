-- Store a record if there is none. See once.lua, too.
--
-- KEYS  1 record
-- ARGV  1 value
--       2 milliseconds to keep it
--
-- Promise: answers `-` if it was stored, else `=` and the value that is there and stays.

local there = redis.call('GET', KEYS[1])
if not there then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return answer(there and '=' .. there or '-')
