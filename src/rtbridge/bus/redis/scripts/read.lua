-- Read what comes after a position, or the newest.
--
-- KEYS  1 log
--       2 history
-- ARGV  1 epoch read so far; empty for the newest publications
--       2 offset read so far
--       3 most publications
--       4 most bytes of data, but one publication in any case
--       5 milliseconds to keep the log
--       6 epoch for a new log
--       7 fence
--
-- Promise: returns {position of the log, state, entry, entry, ...}, entries oldest first. State is `whole`, `more` (cut)
-- or `gap` (what comes after cannot be given whole; no entries). A log that has no epoch gets one; it gets
-- a new lease of life.

local epoch, last, kind, new = open(KEYS[1], KEYS[2], ARGV[6], ARGV[7])
if new then
  save(KEYS[1], epoch, last, kind, ARGV[7], 1)
end
renew(KEYS[1], KEYS[2], kind, tonumber(ARGV[5]))
local limit, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local answer = {epoch .. '.' .. last, 'whole'}
local taken, bytes = 0, 0
local CHUNK = 64 -- so that a page of large publications is not read many times over

local function fits(entry)
  local size = #entry - string.find(entry, '\n', 1, true)
  bytes = bytes + size
  if taken >= limit or (taken > 0 and bytes > max_bytes) then
    return false
  end
  taken = taken + 1
  return true
end

local function newest()
  local backwards = {}
  local from = redis.call('LLEN', KEYS[2]) - 1
  while from >= 0 and #backwards == taken and taken < limit do
    local chunk = redis.call('LRANGE', KEYS[2], math.max(0, from - math.min(CHUNK, limit - taken) + 1), from)
    for i = #chunk, 1, -1 do
      if not fits(chunk[i]) then
        from = -1
        break
      end
      backwards[taken] = chunk[i]
    end
    from = from - #chunk
  end
  for i = taken, 1, -1 do
    answer[#answer + 1] = backwards[i]
  end
end

local function after(missing)
  local length = redis.call('LLEN', KEYS[2])
  if ARGV[1] ~= epoch or missing < 0 or missing > length then
    answer[2] = 'gap'
    return
  end
  local from = length - missing
  while from < length do
    local chunk = redis.call('LRANGE', KEYS[2], from, from + math.min(CHUNK, limit - taken + 1) - 1)
    for i = 1, #chunk do
      if not fits(chunk[i]) then
        answer[2] = 'more'
        return
      end
      answer[#answer + 1] = chunk[i]
    end
    from = from + #chunk
  end
end

if kind == 'h' and ARGV[1] ~= '' then
  after(last - tonumber(ARGV[2]))
elseif kind == 'l' and not (ARGV[1] == epoch and tonumber(ARGV[2]) == last) then
  limit = ARGV[1] == '' and limit or 1
  newest()
elseif kind == 'h' then
  newest()
end
return answer
