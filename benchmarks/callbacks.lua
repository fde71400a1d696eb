-- Callbacks for wrk, as TellABot sends them (a form) or HeroSMS (JSON).
-- FORM: tellabot or herosms. FIRST: the number of the first. DISTINCT: how many differ; 0: all do.
local form = os.getenv("FORM") or "tellabot"
local first = tonumber(os.getenv("FIRST") or "0")
local distinct = tonumber(os.getenv("DISTINCT") or "0")
-- What repeats has the time that it was first sent with.
local began = tonumber(os.getenv("SECOND") or os.time())
local threads = 0

function setup(thread)
  thread:set("place", threads)
  threads = threads + 1
end

function init()
  n = first + place * 10000000
end

local function tellabot(number, second)
  return "event=incoming_message&id=" .. 30000000 + number .. "&timestamp=" .. second
    .. string.format("&from=22000&to=1850%07d&service=Google", number % 10000000)
    .. string.format("&reply=G-%06d+is+your+Google+verification+code.", number % 1000000)
    .. string.format("&pin=G-%06d&price=1.20", number % 1000000)
end

local function herosms(number, second)
  return string.format(
    '{"activationId":%.0f,"service":"go","text":"G-%06d is your Google verification code.",'
      .. '"code":"G-%06d","country":16,"receivedAt":"%s","messageId":%.0f}',
    4450751126 + number, number % 1000000, number % 1000000,
    os.date("!%Y-%m-%dT%H:%M:%SZ", second), 90001 + number)
end

local made = { tellabot = tellabot, herosms = herosms }
local types = { tellabot = "application/x-www-form-urlencoded", herosms = "application/json" }

function request()
  n = n + 1
  local number, second = n, os.time()
  if distinct > 0 then number, second = first + n % distinct, began end
  return wrk.format("POST", nil, { ["Content-Type"] = types[form] }, made[form](number, second))
end
