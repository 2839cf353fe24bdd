//! From what the executor and a build tell to what is shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::cli::ui::Ui;
use crate::cli::ui::parts::PartNews;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::{Mode, News};
use crate::engine::Progress;
use crate::executor::Observer;
use crate::executor::progress::{Kind, Status, Update};
use crate::planner::plan::StepId;
use crate::values::image_ref::ImageRef;

/// What becomes of a layer that is sent.
const SENT: [&str; 3] = ["Pushed", "Layer already exists", "Mounted from"];

/// Shows what is done.
pub struct Shown<'a> {
    ui: &'a Ui,
    header: OnceLock<String>,
    attached: AtomicBool,
    builds: Mutex<BTreeMap<String, Building>>,
    /// Unfinished lines of hooks, by where they run.
    hooks: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What was last said of each layer on its way.
    layers: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, Default)]
struct Building {
    partial: Vec<u8>,
    /// Where in the Dockerfile each step stands, and what it is.
    steps: BTreeMap<String, (String, String)>,
}

impl<'a> Shown<'a> {
    /// On this screen.
    pub fn new(ui: &'a Ui) -> Shown<'a> {
        Shown {
            ui,
            header: OnceLock::new(),
            attached: AtomicBool::new(false),
            builds: Mutex::default(),
            hooks: Mutex::default(),
            layers: Mutex::default(),
        }
    }

    /// Beside the output of containers, which hooks' output is a part of.
    pub fn beside_output(ui: &'a Ui) -> Shown<'a> {
        Shown { attached: AtomicBool::new(true), ..Shown::new(ui) }
    }

    /// The output of containers is shown from the first start on: before it, this line is printed.
    pub fn set_header(&self, header: String) {
        // Set twice, the first one counts: it is the one that may have been printed.
        let _ = self.header.set(header);
    }

    /// From now on the screen belongs to the output of containers; happens once.
    pub fn attach(&self) {
        let Some(header) = self.header.get() else { return };
        if self.attached.swap(true, Ordering::Relaxed) {
            return;
        }
        self.ui.go_on_in_lines("up");
        // A closed standard output is met again with the first line of a container, and told there.
        let _ = self.ui.line(header).and_then(|()| self.ui.flush());
    }

    /// News of a build that no step of a plan belongs to.
    pub fn build(&self, image: &str, progress: Progress) {
        let quiet = self.ui.builds_are_quiet();
        let plain = self.ui.look().progress == Mode::Plain && !quiet;
        match progress {
            Progress::Step { id, text } => {
                if plain {
                    self.ui.say(&format!("{image} #{id} {text}"));
                }
                self.step(image, &id, Phase::Working, Some(text), None);
            }
            Progress::Done { id, cached } => {
                if plain {
                    self.ui.say(&format!("{image} #{id} {}", if cached { "CACHED" } else { "DONE" }));
                }
                let text = cached.then(|| format!("CACHED {}", self.step_text(image, &id)));
                self.step(image, &id, Phase::Done, text, None);
            }
            Progress::Output { id, bytes } => {
                for line in self.lines(image, &bytes) {
                    if plain {
                        self.ui.pass_on(&format!("{image} #{id} {line}"));
                    } else {
                        self.working(image, line);
                    }
                }
            }
            Progress::Warning { text } => self.ui.warn(&text),
            Progress::Bytes { id, done, total } => {
                self.step(image, &id, Phase::Working, None, total.map(|total| (done, total)));
            }
        }
    }

    /// What is known of a step by now; `[2/5] RUN make` is the step `[2/5]`.
    fn step(&self, image: &str, id: &str, phase: Phase, text: Option<String>, amount: Option<(u64, u64)>) {
        if self.ui.look().progress == Mode::Plain || self.ui.builds_are_quiet() {
            return;
        }
        let (place, text) = {
            let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
            let steps = &mut builds.entry(image.to_owned()).or_default().steps;
            let (place, known) = steps.entry(id.to_owned()).or_default();
            if let Some(text) = text {
                let end = text.find("] ").filter(|_| place.is_empty()).map_or(0, |at| at + 1);
                if end > 0 {
                    text[..end].clone_into(place);
                }
                text[end..].trim_start().clone_into(known);
            }
            (place.clone(), known.clone())
        };
        if self.ui.look().progress == Mode::Tty {
            // The last line of the step before goes.
            self.working(image, String::new());
        }
        self.ui.part(&PartNews { parent: format!("Image {image}"), id: place, phase, text, amount });
    }

    fn step_text(&self, image: &str, id: &str) -> String {
        let builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        let step = builds.get(image).and_then(|building| building.steps.get(id));
        step.map(|(_, text)| text.clone()).unwrap_or_default()
    }

    /// News of an image's layer on its way.
    pub fn layer(&self, image: &ImageRef, progress: Progress) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, phase, text, amount) = match progress {
            Progress::Step { id, text } => (id, Phase::Working, Some(text), None),
            Progress::Bytes { id, done, total } => {
                // Nobody says when bytes begin to come: the first ones do.
                let begins = layers.get(&id).is_some_and(|text| text == "Pulling fs layer");
                (id, Phase::Working, begins.then(|| "Downloading".to_owned()), total.map(|total| (done, total)))
            }
            Progress::Done { id, cached } => {
                // A push says itself what became of a layer.
                let sent = layers.get(&id).filter(|text| SENT.iter().any(|word| text.starts_with(word))).cloned();
                let text = sent.unwrap_or_else(|| if cached { "Already exists" } else { "Pull complete" }.to_owned());
                (id, Phase::Done, Some(text), None)
            }
            Progress::Output { .. } | Progress::Warning { .. } => return,
        };
        if let Some(text) = text {
            layers.insert(id.clone(), text);
        }
        let text = layers.get(&id).cloned().unwrap_or_default();
        drop(layers);
        self.ui.part(&PartNews { parent: format!("Image {image}"), id, phase, text, amount });
    }

    /// A table shows what a build is about from moment to moment, and whoever reads objects is told.
    fn working(&self, image: &str, details: String) {
        if self.ui.look().progress != Mode::Plain && !self.ui.builds_are_quiet() {
            let (id, text) = (format!("Image {image}"), "Building".to_owned());
            self.ui.news(News { id, phase: Phase::Working, text, details });
        }
    }

    /// The lines that are complete with these bytes.
    fn lines(&self, image: &str, bytes: &[u8]) -> Vec<String> {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = &mut builds.entry(image.to_owned()).or_default().partial;
        partial.extend_from_slice(bytes);
        let whole = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let complete: Vec<u8> = partial.drain(..whole).collect();
        String::from_utf8_lossy(&complete).lines().map(str::to_owned).collect()
    }
}

impl Observer for Shown<'_> {
    fn hook(&self, source: &str, output: &[u8]) {
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let partial = hooks.entry(source.to_owned()).or_default();
        partial.extend_from_slice(output);
        let whole = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in partial.drain(..whole).as_slice().split_inclusive(|byte| *byte == b'\n') {
            let line = format!("{source} ->  | {}", String::from_utf8_lossy(line).trim_end_matches('\n'));
            if self.attached.load(Ordering::Relaxed) {
                // A closed standard output is met again with the first line of a container, and told there.
                let _ = self.ui.line(&line).and_then(|()| self.ui.flush());
            } else {
                self.ui.pass_on(&line);
            }
        }
    }

    fn update(&self, update: Update) {
        let phase = match update.status.kind() {
            Kind::Working => Phase::Working,
            Kind::Done => Phase::Done,
            Kind::Warning => Phase::Warning,
            Kind::Error => Phase::Error,
        };
        if update.status == Status::Starting {
            self.attach();
        }
        // Beside the output of containers a terminal shows only what is worth reading (Compose CLI reference, §7).
        let hidden = self.attached.load(Ordering::Relaxed)
            && self.ui.look().progress == Mode::Tty
            && matches!(update.status, Status::Creating | Status::Starting | Status::Started);
        if !hidden {
            let (id, text) = (update.resource.to_string(), update.status.to_string());
            // Why something failed is told once, when all has ended; whoever reads objects wants it with its object.
            let told = phase != Phase::Error || self.ui.look().progress == Mode::Json;
            let details = update.detail.filter(|_| told).unwrap_or_default();
            self.ui.news(News { id, phase, text, details });
        }
    }

    fn travelling(&self, _: StepId, image: &ImageRef, progress: Progress) {
        self.layer(image, progress);
    }

    fn building(&self, _: StepId, image: &str, progress: Progress) {
        self.build(image, progress);
    }
}
