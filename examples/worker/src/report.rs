//! The report: a consumer that requests it, and a worker that builds it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ws_consumer::{
    Consumer, Error, Frame, Result, Socket,
    worker::{Job, Worker},
};

/// The channel that the workers serve.
pub(crate) const REPORTS: &str = "reports";

/// The largest number of rows of a report; the page states it, too.
const MOST_ROWS: u32 = 1000;
/// The cost of a row, which would be a query in a real application.
const ROW: Duration = Duration::from_millis(20);
/// The shortest interval between two steps of the progress bar.
const STEPS: u32 = 50;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Order {
    #[serde(rename = "report.build")]
    Build { rows: u32 },
}

/// A report of a worker, sent to the page unchanged.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum ReportEvent {
    #[serde(rename = "report.progress")]
    Progress { done: u32, of: u32 },
    #[serde(rename = "report.ready")]
    Ready { rows: u32, sum: u64 },
}

/// The page's end: submits a job to a worker, and passes its progress on.
#[derive(Default)]
pub(crate) struct Reports;

#[derive(Deserialize)]
struct Wish {
    rows: u32,
}

impl Consumer for Reports {
    type Event = ReportEvent;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let Wish { rows } = frame.json()?;
        if !(1..=MOST_ROWS).contains(&rows) {
            return Err(Error::bad_input(format!("a report has 1 to {MOST_ROWS} rows")));
        }
        socket.submit(REPORTS, &Order::Build { rows }).await
    }

    async fn event(&mut self, socket: &mut Socket, event: &ReportEvent) -> Result<()> {
        socket.send_json(event).await
    }
}

pub(crate) struct Builder;

impl Worker for Builder {
    type Event = Order;

    async fn handle(&self, job: &Job, order: Order) -> Result<()> {
        let Order::Build { rows } = order;
        let mut sum = 0;
        for row in 1..=rows {
            tokio::time::sleep(ROW).await;
            sum += u64::from(row);
            if row % rows.div_ceil(STEPS) == 0 || row == rows {
                job.progress(&ReportEvent::Progress { done: row, of: rows }).await?;
            }
        }
        job.progress(&ReportEvent::Ready { rows, sum }).await
    }
}
