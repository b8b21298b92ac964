-- KEYS: queue. ARGV: the number of messages. Returns messages that have not expired.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken, count = {}, tonumber(ARGV[1])
while #taken < count do
  local first = redis.call('LPOP', KEYS[1])
  if not first then break end
  if tonumber(string.match(first, '^(%d+):')) > now then taken[#taken + 1] = first end
end
return taken
