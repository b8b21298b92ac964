-- KEYS: group keys. ARGV: for each key, a count and so many members. Answers the numbers of the keys that hold none of
-- theirs.
local lost, at = {}, 1
for place, key in ipairs(KEYS) do
  local found = false
  for member = at + 1, at + tonumber(ARGV[at]) do
    if redis.call('ZSCORE', key, ARGV[member]) then found = true break end
  end
  if not found then lost[#lost + 1] = place end
  at = at + 1 + tonumber(ARGV[at])
end
return lost
