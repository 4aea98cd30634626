//! A provider as a process, as a host holds it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{Launch, Order, Report};

/// The process of a provider. Killed when dropped.
pub struct ProviderProcess {
    pub child: Child,
    /// Its standard input; without it the provider ends.
    pub orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
impl ProviderProcess {
    /// Starts `program` as a provider.
    pub fn start(program: &str, launch: Launch) -> Self {
        let mut process = Self::spawn(program);
        process.order(&Order::Start(Box::new(launch)));
        process
    }

    /// Runs `program`, which waits for its first order.
    pub fn spawn(program: &str) -> Self {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take();
        let reports = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, reports }
    }

    pub fn order(&mut self, order: &Order) {
        let line = serde_json::to_string(order).unwrap() + "\n";
        self.orders.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Waits for what it says next.
    pub fn report(&mut self) -> Report {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for ProviderProcess {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
