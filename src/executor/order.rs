//! Which step may begin. Pure: knows nothing of what steps do.

use std::collections::BTreeSet;

use crate::planner::plan::{Action, OnFailure, Plan, StepId};

/// How far a plan is.
pub(super) struct Order<'p> {
    plan: &'p Plan,
    limit: usize,
    /// For each step, how many it still waits for.
    missing: Vec<usize>,
    /// For each step, those that wait for it.
    waiting: Vec<Vec<StepId>>,
    /// Those that may begin, the next one last: what has just become possible goes first, so that work is finished
    /// rather than begun; waits go last, so that one that fails at once does not keep cheap work from being done.
    ready: Vec<StepId>,
    running: BTreeSet<StepId>,
    cancelled: bool,
}

impl<'p> Order<'p> {
    /// Nothing has begun; at most `limit` steps run together.
    pub(super) fn new(plan: &'p Plan, limit: usize) -> Order<'p> {
        let mut waiting = vec![Vec::new(); plan.steps().len()];
        let mut missing = Vec::with_capacity(plan.steps().len());
        let mut ready = Vec::new();
        for (id, step) in plan.numbered() {
            missing.push(step.after.len());
            for before in &step.after {
                if let Some(list) = waiting.get_mut(before.index()) {
                    list.push(id);
                }
            }
            if step.after.is_empty() {
                ready.push(id);
            }
        }
        ready.reverse();
        Order { plan, limit, missing, waiting, ready, running: BTreeSet::new(), cancelled: false }
    }

    /// The next step to begin.
    pub(super) fn next(&mut self) -> Option<StepId> {
        if self.cancelled || self.running.len() >= self.limit {
            return None;
        }
        let id = self.ready.pop()?;
        self.running.insert(id);
        Some(id)
    }

    /// A step is done: those that waited for nothing else may begin.
    pub(super) fn done(&mut self, id: StepId) {
        self.running.remove(&id);
        let Some(waiting) = self.waiting.get_mut(id.index()) else { return };
        for next in std::mem::take(waiting).into_iter().rev() {
            if let Some(missing) = self.missing.get_mut(next.index()) {
                *missing -= 1;
                if *missing > 0 {
                    continue;
                }
                match self.plan.step(next).map(|step| &step.action) {
                    Some(Action::Wait { .. } | Action::AwaitReady { .. }) => self.ready.insert(0, next),
                    _ => self.ready.push(next),
                }
            }
        }
    }

    /// A step failed: what waits for it never begins.
    pub(super) fn failed(&mut self, id: StepId) {
        self.running.remove(&id);
        self.cancelled |= self.plan.on_failure == OnFailure::Cancel;
    }

    /// Whether nothing will begin any more and nothing runs but waits.
    pub(super) fn is_over(&self) -> bool {
        let is_wait = |action: &Action| matches!(action, Action::Wait { .. } | Action::AwaitReady { .. });
        let waits = |id: &StepId| self.plan.step(*id).is_some_and(|step| is_wait(&step.action));
        self.cancelled && self.running.iter().all(waits)
    }
}
