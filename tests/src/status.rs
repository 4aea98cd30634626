//! What `lattice-ctl status APP -o json` says.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status(Value);

/// One instance of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub host: String,
    pub id: String,
    pub revision: u64,
    pub state: String,
    pub traps: u64,
    pub timeouts: u64,
    pub refused: u64,
    /// The newest fault, in words.
    pub last_fault: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Status {
    pub(crate) fn parse(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}")))
    }

    /// Everything runs as the manifest says, and nothing else does.
    pub fn ready(&self) -> bool {
        self.0["ready"].as_bool().unwrap()
    }

    fn unit(&self, unit: &str) -> &Value {
        let units = self.0["units"].as_array().unwrap();
        units.iter().find(|u| u["unit"] == unit).unwrap_or_else(|| panic!("no unit {unit} in {}", self.0))
    }

    /// How far the newest revision has come: `complete`, `progressing`, `paused` or `failed`.
    pub fn rollout(&self) -> String {
        text(&self.0["rollout"]["state"])
    }

    /// The newest revision that has run everywhere.
    pub fn complete(&self) -> Option<u64> {
        self.0["rollout"]["complete"].as_u64()
    }

    /// How many instances of a unit are of this revision.
    pub fn of_revision(&self, unit: &str, revision: u64) -> usize {
        self.instances(unit).iter().filter(|instance| instance.revision == revision).count()
    }

    /// `ready`, `degraded`, `progressing` or `failed`.
    pub fn state(&self, unit: &str) -> String {
        text(&self.unit(unit)["state"])
    }

    /// What it runs: a digest, or a provider's name.
    pub fn what(&self, unit: &str) -> String {
        text(&self.unit(unit)["what"])
    }

    /// Ready and wanted.
    pub fn counts(&self, unit: &str) -> (u64, u64) {
        let number = |name: &str| self.unit(unit)[name].as_u64().unwrap();
        (number("ready"), number("wanted"))
    }

    pub fn instances(&self, unit: &str) -> Vec<Instance> {
        let instance = |value: &Value| {
            let faults = |name: &str| value["faults"][name].as_u64().unwrap_or(0);
            Instance {
                host: text(&value["host"]),
                id: text(&value["instance"]),
                revision: value["revision"].as_u64().unwrap(),
                state: text(&value["state"]),
                traps: faults("traps"),
                timeouts: faults("timeouts"),
                refused: faults("refused"),
                last_fault: text(&value["faults"]["last"]),
            }
        };
        self.unit(unit)["instances"].as_array().unwrap().iter().map(instance).collect()
    }

    /// The ids of the hosts that run a unit, sorted; one that runs it twice is there twice.
    pub fn hosts(&self, unit: &str) -> Vec<String> {
        let mut hosts: Vec<_> = self.instances(unit).into_iter().map(|instance| instance.host).collect();
        hosts.sort();
        hosts
    }
}
