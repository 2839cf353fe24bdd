//! `xcompose dns`

use std::net::IpAddr;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::members;
use crate::cli::ui::table::Table;
use crate::cli::ui::time;
use crate::engine::{Question, Resolution};

/// Show who is answered what by the resolvers of running containers
///
/// A row tells which names lead a container to which addresses, at this moment. Each name is also answered with the name
/// of its network behind it. With --log the last questions are shown instead, and what was answered.
#[derive(Debug, clap::Args)]
pub struct Dns {
    /// Services whose containers ask (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Show the last questions instead of the names
    #[arg(long)]
    log: bool,
    /// Show the last questions, then those to come
    #[arg(short, long)]
    follow: bool,
    /// Print as a stream of json objects
    #[arg(long)]
    json: bool,
}

impl Dns {
    /// Prints names, or questions.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &self.services)?;
        let observed = context.observe(&stack).await?;
        if let Some(unknown) = self.services.iter().find(|name| members::of(&observed, &[name]).is_empty()) {
            return Err(Kind::NoSuchService(unknown.clone()).into());
        }
        let askers: Vec<String> =
            members::of(&observed, &self.services).iter().map(|found| found.config.name.to_string()).collect();
        // A container may come while one follows.
        let wanted = |asker: &String| self.services.is_empty() || askers.contains(asker);
        let ui = context.ui();
        if !self.log && !self.follow {
            let mut found = context.engine().names(&stack.name).await?;
            found.retain(|resolution| wanted(&resolution.asker));
            found.sort_by(|a, b| a.asker.cmp(&b.asker));
            ui.text(&if self.json { names_as_json(&found) } else { names_as_text(&found) })?;
            return Ok(Exit::SUCCESS);
        }
        let mut questions = context.engine().questions(&stack.name, self.follow).await?;
        while let Some(question) = questions.recv().await {
            if wanted(&question.asker) {
                ui.text(&if self.json { question_as_json(&question) } else { question_as_text(&question) })?;
                ui.flush()?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}

/// Names that lead to the same addresses share a row.
fn rows(resolution: &Resolution) -> Vec<(Vec<&str>, &[IpAddr])> {
    let mut rows: Vec<(Vec<&str>, &[IpAddr])> = Vec::new();
    for (name, addresses) in &resolution.names {
        match rows.iter_mut().find(|(_, others)| *others == addresses.as_slice()) {
            Some((names, _)) => names.push(name),
            None => rows.push((vec![name], addresses)),
        }
    }
    rows
}

fn names_as_text(found: &[Resolution]) -> String {
    let mut table = Table::new(&["ASKER", "NAMES", "ANSWERS"]);
    for resolution in found {
        for (names, addresses) in rows(resolution) {
            table.row(vec![resolution.asker.clone(), names.join(", "), list(addresses)]);
        }
        let others = match resolution.upstreams.as_slice() {
            [] => "do not exist".to_owned(),
            servers => format!("asked of {}", list(servers)),
        };
        table.row(vec![resolution.asker.clone(), "(others)".to_owned(), others]);
    }
    table.to_string()
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn names_as_json(found: &[Resolution]) -> String {
    let line = |resolution: &Resolution| {
        let names: serde_json::Map<String, serde_json::Value> =
            resolution.names.iter().map(|(name, addresses)| (name.clone(), serde_json::json!(addresses))).collect();
        let upstreams = &resolution.upstreams;
        format!("{}\n", serde_json::json!({"asker": resolution.asker, "names": names, "upstreams": upstreams}))
    };
    found.iter().map(line).collect()
}

fn question_as_text(question: &Question) -> String {
    let Question { asker, name, kind, answer, took, .. } = question;
    // Ours take no time worth telling.
    let took = if took.is_zero() { String::new() } else { format!(" ({:.1} ms)", took.as_secs_f64() * 1000.0) };
    format!("{} {asker} {kind} {name}: {answer}{took}\n", time::micro(question.time))
}

fn question_as_json(question: &Question) -> String {
    let object = serde_json::json!({
        "time": time::rfc3339(question.time), "asker": question.asker, "type": question.kind, "name": question.name,
        "answer": question.answer, "milliseconds": question.took.as_secs_f64() * 1000.0,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_with_the_same_answer_share_a_row_and_the_last_tells_of_all_others() {
        let address = |last: u8| IpAddr::from([172, 18, 0, last]);
        let names = vec![
            ("db".to_owned(), vec![address(2)]),
            ("p-db-1".to_owned(), vec![address(2)]),
            ("web".to_owned(), vec![address(3), address(4)]),
        ];
        let outside = Resolution { asker: "p-web-1".into(), names, upstreams: vec![[192, 0, 2, 53].into()] };
        let inside = Resolution { asker: "p-db-1".into(), names: Vec::new(), upstreams: Vec::new() };
        insta::assert_snapshot!(names_as_text(&[outside, inside]), @r"
        ASKER     NAMES        ANSWERS
        p-web-1   db, p-db-1   172.18.0.2
        p-web-1   web          172.18.0.3 172.18.0.4
        p-web-1   (others)     asked of 192.0.2.53
        p-db-1    (others)     do not exist
        ");
    }

    #[test]
    fn a_question_is_a_line() {
        let mut question = Question {
            time: 0,
            asker: "p-web-1".into(),
            name: "db".into(),
            kind: "A".into(),
            answer: "172.18.0.2".into(),
            took: Duration::ZERO,
        };
        assert_eq!(question_as_text(&question), "1970-01-01 00:00:00.000000 p-web-1 A db: 172.18.0.2\n");
        question.took = Duration::from_micros(1500);
        assert!(question_as_text(&question).ends_with("(1.5 ms)\n"));
    }
}
