local found = {}
for _, machine in ipairs(call('ZRANGE', p .. 'ms', 0, -1)) do found[#found + 1] = shown(machine) end
return found
