//! From a request to what came of it: lock, images, observation, plan, questions, execution, with what is shown of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cli::context::{Context, Stack};
use crate::cli::failure::Failure;
use crate::cli::members;
use crate::cli::observer::Shown;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::cli::ui::time;
use crate::engine::Observed;
use crate::executor::{self, Outcome};
use crate::planner;
use crate::planner::plan::{Action, Plan, Question, Warning};
use crate::planner::request::{Answers, Operation, Request};
use crate::planner::transfers::{self, Skipped, Transfers};
use crate::spec::project::Project;
use crate::values::names::ProjectName;

/// How long a table of progress stands before its moving parts are drawn again.
pub const FRAME: Duration = Duration::from_millis(100);

impl Context<'_> {
    /// Plans and does what was asked, alone in the project.
    pub async fn carry_out(&self, stack: &Stack, word: &'static str, request: Request) -> Result<Outcome, Failure> {
        self.ui().begin(word);
        let done = self.alone(stack, request, &Shown::new(self.ui()), |_, _| None).await;
        self.ui().end();
        done
    }

    /// The same beside the output of containers: a line an event.
    pub async fn carry_out_in_lines(&self, stack: &Stack, request: Request) -> Result<(), Failure> {
        self.ui().begin_in_lines("stop");
        let done = self.alone(stack, request, &Shown::beside_output(self.ui()), |_, _| None).await;
        self.ui().end();
        done.map(drop)
    }

    /// Brings up what will be shown: `Attaching to …` is printed before the first start.
    pub async fn bring_up(&self, stack: &Stack, request: Request, attached: &[String]) -> Result<(), Failure> {
        self.ui().begin("up");
        let shown = Shown::new(self.ui());
        let header = |plan: &Plan, observed: &Observed| Some(header(plan, observed, attached, &stack.name));
        let done = self.alone(stack, request, &shown, header).await;
        if done.is_ok() {
            shown.attach();
        }
        self.ui().end();
        done.map(drop)
    }

    /// What `plan` prints: images that have to be made, then the rest, as far as it can be known before.
    pub async fn plan(&self, stack: &Stack, mut request: Request) -> Result<Plan, Failure> {
        let observed = self.observe(stack).await?;
        let Some(project) = &stack.project else { return self.decide(stack, &observed, &mut request) };
        let (transfers, observed) = self.transfers(project, &observed, &request)?;
        let images = planner::images::plan(project, &observed, &request)?;
        let rest = self.decide(stack, &observed, &mut request)?;
        Ok(transfers.plan.followed_by(images).followed_by(rest))
    }

    /// Which images travel first, and how things will stand then, as far as that can be known.
    fn transfers(
        &self,
        project: &Project,
        observed: &Observed,
        request: &Request,
    ) -> Result<(Transfers, Observed), Failure> {
        let transfers = match &request.operation {
            Operation::Push(push) => transfers::pushes(project, request, push)?,
            _ => transfers::pulls(project, observed, request, time::now())?,
        };
        let expected = transfers::expected(&transfers.plan, observed);
        Ok((transfers, expected))
    }

    /// The plan for a request, with everything asked that has to be.
    fn decide(&self, stack: &Stack, observed: &Observed, request: &mut Request) -> Result<Plan, Failure> {
        let mut plan = planner::plan(stack.wanted(), observed, request)?;
        if !plan.questions.is_empty() && !self.dry_run() {
            let mut answers = BTreeMap::new();
            for question in std::mem::take(&mut plan.questions) {
                let yes = self.ui().confirm(&words(&question), false)?;
                answers.insert(question, yes);
            }
            answer(&mut request.operation, Answers::Given(answers));
            plan = planner::plan(stack.wanted(), observed, request)?;
        }
        if let Operation::Remove(remove) = &request.operation
            && remove.answers == Answers::Yes
        {
            let going: BTreeSet<&str> = plan
                .steps()
                .iter()
                .filter_map(|step| match &step.action {
                    Action::RemoveContainer { target, .. } => Some(target.name.as_str()),
                    _ => None,
                })
                .collect();
            if !going.is_empty() {
                self.ui().line(&format!("Going to remove {}", going.into_iter().collect::<Vec<_>>().join(", ")))?;
                self.ui().flush()?;
            }
        }
        for warning in &plan.warnings {
            match warning {
                Warning::NothingToKill | Warning::NothingToDelete => self.ui().status(&warning.to_string())?,
                Warning::NothingToRemove(_) => self.ui().say(&format!("Warning: {warning}")),
                other => self.ui().warn(&other.to_string()),
            }
        }
        Ok(plan)
    }

    /// Locks, makes images, observes, plans, asks, and carries out.
    async fn alone(
        &self,
        stack: &Stack,
        mut request: Request,
        shown: &Shown<'_>,
        header: impl FnOnce(&Plan, &Observed) -> Option<String>,
    ) -> Result<Outcome, Failure> {
        let engine = self.engine();
        let ui = self.ui();
        let waiting = |holder: &str| ui.say(&format!("waiting for {holder}, which is changing this project"));
        let _lock = if self.dry_run() { None } else { Some(engine.lock(&stack.name, &waiting).await?) };
        let mut observed = self.observe(stack).await?;
        if let Some(project) = &stack.project {
            let (transfers, images) = self.transfers(project, &observed, &request)?;
            for Skipped { what, reason } in &transfers.skipped {
                let (id, text, details) = (what.clone(), "Skipped".to_owned(), (*reason).to_owned());
                ui.news(News { id, phase: Phase::Done, text, details });
            }
            if !transfers.plan.is_empty() {
                let done = self.execute(&transfers.plan, shown).await?;
                if matches!(request.operation, Operation::Pull(_) | Operation::Push(_)) {
                    return Ok(done);
                }
                observed = images;
                if !self.dry_run() {
                    observed = self.observe(stack).await?;
                }
            }
            let images = planner::images::plan(project, &observed, &request)?;
            if !images.steps().is_empty() {
                self.execute(&images, shown).await?;
                observed = self.observe(stack).await?;
            }
        }
        if matches!(request.operation, Operation::Build(_) | Operation::Pull(_) | Operation::Push(_)) {
            return Ok(Outcome::default());
        }
        let plan = self.decide(stack, &observed, &mut request)?;
        if let Some(header) = header(&plan, &observed) {
            shown.set_header(header);
        }
        for name in &plan.unchanged {
            let (id, text) = (format!("Container {name}"), "Running".to_owned());
            self.ui().news(News { id, phase: Phase::Done, text, details: String::new() });
        }
        self.execute(&plan, shown).await
    }

    async fn execute(&self, plan: &Plan, shown: &Shown<'_>) -> Result<Outcome, Failure> {
        if self.dry_run() {
            for step in plan.steps() {
                self.ui().say(&format!(" DRY-RUN MODE -  {}", step.action));
            }
            return Ok(Outcome::default());
        }
        let parallel = self.parallel()?;
        let engine = self.engine();
        let mut run = std::pin::pin!(executor::run(plan, engine.as_ref(), parallel, shown));
        let mut frame = tokio::time::interval(FRAME);
        loop {
            tokio::select! {
                done = &mut run => return Ok(done?),
                _ = frame.tick() => self.ui().tick(),
            }
        }
    }
}

fn words(question: &Question) -> String {
    match question {
        Question::RecreateVolume(name) => format!(
            "Volume {:?} exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
            name.as_str()
        ),
        Question::RemoveContainers(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!("Going to remove {}", names.join(", "))
        }
    }
}

fn answer(operation: &mut Operation, given: Answers) {
    match operation {
        Operation::Up(up) => up.answers = given,
        Operation::Run(run) => run.answers = given,
        Operation::Remove(remove) => remove.answers = given,
        Operation::Build(_)
        | Operation::Pull(_)
        | Operation::Push(_)
        | Operation::Start { .. }
        | Operation::Resume { .. }
        | Operation::Stop { .. }
        | Operation::Restart { .. }
        | Operation::Kill { .. }
        | Operation::Pause
        | Operation::Unpause
        | Operation::Down(_) => {}
    }
}

/// `Attaching to a-1, b-1`: the containers of the attached services as they will be.
fn header(plan: &Plan, observed: &Observed, attached: &[String], project: &ProjectName) -> String {
    let shown = |labels| !members::one_off(labels) && attached.iter().any(|name| name == members::service(labels));
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for container in observed.containers.iter().filter(|container| shown(&container.config.labels)) {
        names.insert(members::shown_name(container.config.name.as_str(), project));
    }
    for step in plan.steps() {
        if let Action::RemoveContainer { target, .. } = &step.action {
            names.remove(members::shown_name(target.name.as_str(), project));
        }
    }
    for step in plan.steps() {
        if let Action::CreateContainer { config, replaces } = &step.action
            && shown(&config.labels)
        {
            let name = replaces.as_ref().map_or(&config.name, |old| &old.name);
            names.insert(members::shown_name(name.as_str(), project));
        }
    }
    format!("Attaching to {}", names.into_iter().collect::<Vec<_>>().join(", "))
}
