-- Argo CD's health of a FineTuneJob whose result the next sync wave needs: Healthy when it is trained, and not before.
local hs = { status = "Progressing", message = "the operator has not looked at this generation yet" }
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function be(health, kind)
  hs.status = health
  hs.message = conditions[kind].message
end

if holds("Reconciling") then
  be("Progressing", "Reconciling")
elseif holds("Stalled") then
  be("Degraded", "Stalled")
elseif holds("Succeeded") then
  be("Healthy", "Succeeded")
elseif holds("Suspended") then
  be("Suspended", "Suspended")
elseif conditions["Ready"] ~= nil then
  be("Progressing", "Ready")
end
return hs
