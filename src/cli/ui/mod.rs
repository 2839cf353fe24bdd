//! All printing. Standard output is data, standard error is for people; nothing else in the program writes to them.

pub mod container;
pub mod logs;
pub mod menu;
pub mod parts;
pub mod phase;
pub mod progress;
pub mod style;
pub mod table;
pub mod template;
pub mod time;
pub mod why;

use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cli::failure::{Failure, Kind};
use crate::cli::interrupt::until_cancelled;
use crate::cli::ui::logs::{Form, LogPrinter};
use crate::cli::ui::menu::{Above, Menu};
use crate::cli::ui::parts::PartNews;
use crate::cli::ui::progress::{Mode, News, Progress, Screen};
use crate::cli::ui::style::{Ansi, visible};
use crate::spec::diagnostic::Diagnostic;

/// How output looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// When escapes are written.
    pub ansi: Ansi,
    /// How progress is shown.
    pub progress: Mode,
    /// Say that nothing is really done.
    pub dry_run: bool,
    /// Informational lines go to standard output (`COMPOSE_STATUS_STDOUT`).
    pub status_on_stdout: bool,
}

impl Default for Look {
    fn default() -> Look {
        Look { ansi: Ansi::Auto, progress: Mode::Plain, dry_run: false, status_on_stdout: false }
    }
}

/// Where a command prints.
pub struct Ui {
    look: Mutex<Look>,
    menu: Menu,
    stdout: Mutex<std::io::BufWriter<Above<std::io::Stdout>>>,
    progress: Mutex<Option<Progress>>,
    quiet_builds: AtomicBool,
    quiet_parts: AtomicBool,
}

impl Ui {
    /// Without colour and progress, until [`Ui::look`] says more.
    pub fn plain() -> Ui {
        let menu = Menu::default();
        let stdout = Above(menu.clone(), std::io::stdout());
        Ui {
            look: Mutex::new(Look::default()),
            menu,
            stdout: Mutex::new(std::io::BufWriter::with_capacity(1 << 16, stdout)),
            progress: Mutex::new(None),
            quiet_builds: AtomicBool::new(false),
            quiet_parts: AtomicBool::new(false),
        }
    }

    /// Output looks so from now on.
    pub fn set_look(&self, look: Look) {
        *lock(&self.look) = look;
    }

    /// How output looks.
    pub fn look(&self) -> Look {
        *lock(&self.look)
    }

    /// Prints text as it is on standard output.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are on standard output.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(lock(&self.stdout).write_all(bytes)?)
    }

    /// Prints a line on standard output.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = lock(&self.stdout);
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.write_all(b"\n")?)
    }

    /// Writes what has been printed so far.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(lock(&self.stdout).flush()?)
    }

    /// Tells a person something that is no fault: `No stopped containers`.
    pub fn status(&self, text: &str) -> Result<(), Failure> {
        if self.look().status_on_stdout {
            return self.line(text);
        }
        self.say(text);
        Ok(())
    }

    /// Warns in Docker Compose's way.
    pub fn warn(&self, text: &str) {
        match self.look().progress {
            Mode::Json => self.say(&serde_json::json!({ "level": "warning", "msg": text }).to_string()),
            _ => self.say(&format!("WARN {text}")),
        }
    }

    /// Tells a doubt about a compose file, with its place.
    pub fn diagnostic(&self, diagnostic: &Diagnostic) {
        match self.look().progress {
            Mode::Json => self.warn(&diagnostic.message),
            _ => self.say(&diagnostic.to_string()),
        }
    }

    /// Prints a line on standard error, above the progress if there is any. Whatever is quoted in it does nothing to a terminal.
    pub fn say(&self, text: &str) {
        self.pass_on(&visible(text));
    }

    /// The same with a line of a program that was run, which may write to a terminal what it likes.
    pub fn pass_on(&self, text: &str) {
        let mut bytes = lock(&self.progress).as_mut().map(Progress::hide).unwrap_or_default();
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        self.show(&bytes);
    }

    /// Tells what `watch` does, beside the output of containers.
    pub fn watching(&self, text: &str) {
        let sign = if self.colour_on_stdout() { "\x1b[92m ⦿ \x1b[0m" } else { " ⦿ " };
        // A closed standard output is met again with the first line of a container, and told there.
        let _ = self.line(&format!("{sign}{text}")).and_then(|()| self.flush());
    }

    /// Says why the command failed.
    pub fn failure(&self, failure: &Failure) {
        let text = match &*failure.kind {
            Kind::OutputClosed | Kind::Quiet(_) => return,
            _ => failure.text(),
        };
        // What was printed before the failure stands before it; whoever closed standard output still reads this.
        let _ = self.flush();
        match self.look().progress {
            Mode::Json => self.say(&serde_json::json!({ "error": true, "message": text }).to_string()),
            _ => self.say(&text),
        }
    }

    /// Whether escapes go to standard output.
    pub fn colour_on_stdout(&self) -> bool {
        self.look().ansi.on(&std::io::stdout())
    }

    /// A printer of container output; `prefix` names the container before each line.
    pub fn log_printer(&self, form: Form) -> LogPrinter<Box<dyn Write>, Box<dyn Write>> {
        let above = |out: Box<dyn Write>| Box::new(Above(self.menu.clone(), out));
        LogPrinter::new(form, above(Box::new(std::io::stdout())), above(Box::new(std::io::stderr())))
    }

    /// The last line of the screen from now on.
    pub fn set_menu(&self, line: Option<String>) {
        progress::show(&self.menu.set(line));
    }

    /// Writes what was drawn for standard error.
    fn show(&self, bytes: &[u8]) {
        progress::show(&self.menu.around(bytes));
    }

    /// An operation begins whose news will come.
    pub fn begin(&self, operation: &'static str) {
        let look = self.look();
        *lock(&self.progress) =
            Some(Progress::new(look.progress, operation, look.dry_run, look.ansi.on(&std::io::stderr())));
    }

    /// The same beside other output: a line an event also on a terminal.
    pub fn begin_in_lines(&self, operation: &'static str) {
        let look = self.look();
        let mode = if look.progress == Mode::Tty { Mode::Plain } else { look.progress };
        *lock(&self.progress) = Some(Progress::new(mode, operation, look.dry_run, false));
    }

    /// The operation goes on beside other output; a table stays with what is done so far.
    pub fn go_on_in_lines(&self, operation: &'static str) {
        let bytes = lock(&self.progress).take().map(|mut progress| progress.hand_over(screen())).unwrap_or_default();
        self.show(&bytes);
        self.begin_in_lines(operation);
    }

    /// From now on progress is not shown.
    pub fn silence(&self) {
        lock(&self.look).progress = Mode::Quiet;
    }

    /// Whether the output of builds is left out.
    pub fn quiet_builds(&self, quiet: bool) {
        self.quiet_builds.store(quiet, Ordering::Relaxed);
    }

    /// Whether the output of builds is left out.
    pub fn builds_are_quiet(&self) -> bool {
        self.quiet_builds.load(Ordering::Relaxed)
    }

    /// Layers are not shown, only images (`--quiet-pull`).
    pub fn quiet_parts(&self, quiet: bool) {
        self.quiet_parts.store(quiet, Ordering::Relaxed);
    }

    /// News of the operation.
    pub fn news(&self, news: News) {
        let bytes = lock(&self.progress).as_mut().map(|progress| progress.news(news)).unwrap_or_default();
        self.show(&bytes);
    }

    /// News of a part of something, as a layer of an image.
    pub fn part(&self, news: &PartNews) {
        if self.quiet_parts.load(Ordering::Relaxed) {
            return;
        }
        let bytes = lock(&self.progress).as_mut().map(|progress| progress.part(news)).unwrap_or_default();
        self.show(&bytes);
    }

    /// Draws the table again, if there is one.
    pub fn tick(&self) {
        let bytes = lock(&self.progress).as_mut().map(|progress| progress.draw(screen())).unwrap_or_default();
        self.show(&bytes);
    }

    /// The operation is over.
    pub fn end(&self) {
        let bytes = lock(&self.progress).take().map(|mut progress| progress.finish(screen())).unwrap_or_default();
        self.show(&bytes);
    }

    /// Asks yes or no. On a terminal anything else is asked again; elsewhere one word is read, and only `y`, `1`, `t` and
    /// `true` are yes (Compose CLI reference, §7).
    pub fn confirm(&self, question: &str, default: bool) -> Result<bool, Failure> {
        let hidden = lock(&self.progress).as_mut().map(Progress::hide).unwrap_or_default();
        self.show(&hidden);
        let terminal = std::io::stdin().is_terminal();
        loop {
            let choice = if default { "[Y/n]" } else { "[y/N]" };
            self.text(&if terminal { format!("{question} {choice} ") } else { question.to_owned() })?;
            self.flush()?;
            let line = answer()?;
            let word = line.trim().to_ascii_lowercase();
            if !terminal {
                return Ok(matches!(word.as_str(), "y" | "1" | "t" | "true"));
            }
            match word.as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                "" if line.is_empty() => return Err(Kind::Cancelled.into()),
                "" => return Ok(default),
                _ => {}
            }
        }
    }
}

/// A line of standard input with its end; empty at the end of all. Read on threads of their own, so that whoever is asked
/// can still say stop.
fn answer() -> Result<String, Failure> {
    let read = || {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    };
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::system("start"))?;
        let line = runtime.block_on(until_cancelled(async {
            let line = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.into()));
            line.map_err(Failure::system("read the answer"))
        }));
        runtime.shutdown_background();
        line
    };
    std::thread::spawn(wait).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// How large the screen is; 80 by 24 where that can't be known.
pub fn screen() -> Screen {
    // Not `size()`, which runs the program `tput` twice where there is no terminal.
    let known = crossterm::terminal::window_size().ok().filter(|size| size.columns > 0 && size.rows > 0);
    let (columns, rows) = known.map_or((80, 24), |size| (size.columns, size.rows));
    Screen { rows: usize::from(rows), columns: usize::from(columns) }
}

/// What a panic left behind is still good to print.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
