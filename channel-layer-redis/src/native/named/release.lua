-- KEYS: lease. ARGV: node, how long in ms its farewell may be on its way to the others.
local holders = redis.call('GET', KEYS[1])
if not holders then return 0 end
if string.find(holders, ARGV[1], 1, true) == 1 then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local others = string.gsub(holders, ' ' .. ARGV[1], '')
redis.call('SET', KEYS[1], others, 'KEEPTTL')
return 1
