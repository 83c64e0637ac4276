-- Append a publication to a channel's log and tell who watches.
--
-- KEYS  1 log
--       2 history
--       3 receipt: "<number> <position>" of what was published under this key
-- ARGV  1 channel
--       2 "<cause>\n<data>"
--       3 kind: h, l or v
--       4 publications to keep
--       5 milliseconds to keep the history
--       6 milliseconds to keep the log
--       7 epoch for a new log
--       8 fence
--       9 PUBLISH or SPUBLISH
--      10 where to
--      11 number: where the receipt has this or a higher one, it was done already
--      12 milliseconds to keep the receipt
--
-- Promise: returns the position "<epoch>.<offset>". The offset is the log's last plus one; all of it happens or none. The
-- same again, with the same receipt and number, publishes nothing and returns the first one's position.

local receipt = redis.call('GET', KEYS[3])
if receipt then
  local number, position = string.match(receipt, '^(%d+) (%S+)$')
  if number and tonumber(number) >= tonumber(ARGV[11]) then
    return position
  end
end

local epoch, last, kind = open(1, ARGV[7], ARGV[8])
if kind ~= ARGV[3] then
  redis.call('DEL', KEYS[2]) -- of another kind, perhaps with holes
end
local offset = last + 1
local size = tonumber(ARGV[4])
local entry = string.format('%.0f ', offset) .. ARGV[2]
local position = string.format('%s.%.0f', epoch, offset)
save(1, epoch, offset, ARGV[3], ARGV[8], ARGV[6])
if size > 0 then
  if redis.call('RPUSH', KEYS[2], entry) > size then
    redis.call('LTRIM', KEYS[2], -size, -1)
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call('SET', KEYS[3], ARGV[11] .. ' ' .. position, 'PX', ARGV[12])
redis.call(ARGV[9], ARGV[10], ARGV[1] .. '\n' .. epoch .. ' ' .. entry)
return position
