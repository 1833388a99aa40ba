-- KEYS: call, conversation.
local c = fields(KEYS[1])
local resumed = {}
for at in string.gmatch(c.resumed or '', '%S+') do resumed[#resumed + 1] = text(number(at)) end
return {
  c.at and text(number(c.at)) or '', c.intent or '', text(number(c.streams)), table.concat(resumed, ' '),
  text(number(c.waits)), text(number(c.returns)), c.owner or '', text(number(c.epoch)), call('GET', KEYS[2])
}
