//! Calls as they are made, on all hosts.

use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        spy::{Call, Page, Query},
    },
    wire::{CallError, HostId},
};

use crate::{
    asking::{Places, Remarks, Silent, ask_all},
    world::World,
};

/// Calls that are looked at on all hosts.
pub struct Reader {
    pub query: Query,
    pub places: Places,
    pub silent: Silent,
}

impl Reader {
    /// What is new on all hosts, in the order in which it began. An error, the reason in words, when no host shows anything
    /// and one refuses to.
    pub async fn read(
        &mut self,
        bus: &Bus,
        world: &World,
        remarks: &mut dyn Remarks,
    ) -> Result<Vec<(HostId, Call)>, String> {
        let after = |host: &HostId| self.places.get(host).map(|(_, last)| *last);
        let asked = world.live_hosts().map(|host| (host, (&self.query, after(&host.host))));
        let (mut calls, mut refused, mut shown) = (Vec::new(), None, false);
        for (host, answer) in ask_all::<Page, _>(bus, Question::Spy, asked).await {
            match answer {
                Ok(page) => {
                    shown = true;
                    self.silent.has_answered(&host);
                    let before = self.places.insert(host.clone(), (page.began, page.last));
                    // Of a process that is not the one that was asked before, the numbers say nothing yet.
                    if before.is_none_or(|(began, _)| began == page.began) {
                        calls.extend(page.calls.into_iter().map(|call| (host.clone(), call)));
                    }
                }
                Err(error) => {
                    self.silent.tell(&host, "its calls", &error, remarks);
                    refused = refused.or(Some(error));
                }
            }
        }
        match refused {
            Some(CallError::Denied(reason)) if !shown => Err(reason),
            _ => {
                calls.sort_by_key(|(_, call)| call.at_us);
                Ok(calls)
            }
        }
    }
}
