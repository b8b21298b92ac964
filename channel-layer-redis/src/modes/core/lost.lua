-- KEYS: group keys. ARGV: for each key, the number of its members, and the members. Returns the indices of the keys that
-- have none of their members.
local lost, at = {}, 1
for index, key in ipairs(KEYS) do
  local found = false
  for member = at + 1, at + tonumber(ARGV[at]) do
    if redis.call('ZSCORE', key, ARGV[member]) then found = true break end
  end
  if not found then lost[#lost + 1] = index end
  at = at + 1 + tonumber(ARGV[at])
end
return lost
