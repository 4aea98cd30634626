//! What has happened, as the hosts tell it.

use std::collections::BTreeMap;

use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        event::{Event, Told},
    },
    wire::HostId,
};
use uuid::Uuid;

use crate::{
    asking::{Remarks, Silent, ask_all},
    world::World,
};

/// What has been read of each host.
#[derive(Default)]
pub struct Reader {
    /// The newest event.
    pub last: BTreeMap<HostId, Uuid>,
    pub silent: Silent,
}

impl Reader {
    /// What is new on all hosts, in the order of time.
    pub async fn read(&mut self, bus: &Bus, world: &World, remarks: &mut dyn Remarks) -> Vec<Event> {
        let asked = world.live_hosts().map(|host| (host, (self.last.get(&host.host),)));
        let mut new = Vec::new();
        for (host, answer) in ask_all::<Told, _>(bus, Question::Events, asked).await {
            match answer {
                Ok(told) => {
                    self.silent.has_answered(&host);
                    self.last.extend(told.events.last().map(|event| (host, event.id)));
                    new.extend(told.events);
                }
                Err(error) => self.silent.tell(&host, "its events", &error, remarks),
            }
        }
        new.sort_by(|one, other| one.time.cmp(&other.time));
        new
    }
}
