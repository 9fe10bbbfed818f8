-- SPDX-License-Identifier: MIT
-- Loops that a compiler at run time compiles; coroutines, which have stacks of their own.
local x, text = 1, {}
for i = 1, 5000000 do
	x = (x * 16807 + i) % 2147483647
end
local numbers = coroutine.wrap(function()
	for i = 1, 1000 do
		coroutine.yield(string.rep(tostring(i), i % 7))
	end
end)
for i = 1, 1000 do
	text[#text + 1] = numbers()
end
print(x, #table.concat(text))
