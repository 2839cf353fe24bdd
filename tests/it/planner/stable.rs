//! Whatever the project: carrying a plan out leaves nothing to do, and every plan can be carried out.

use proptest::prelude::*;
use xcompose::planner::plan::Plan;
use xcompose::planner::request::*;
use xcompose::spec::project::Project;
use xcompose::spec::project::network::NetworkMode;
use xcompose::spec::project::service::{Condition, Service};

use crate::planner::machine::Machine;
use crate::planner::stack::*;

/// One service of a random project; it depends on services before it.
#[derive(Debug, Clone)]
struct Sketch {
    scale: u32,
    value: u8,
    probed: bool,
    network: u8,
    volume: Option<u8>,
    anonymous: bool,
    shares: bool,
    depends: Vec<(prop::sample::Index, u8)>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let depends = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 0..3);
    (0..4_u32, 0..2_u8, any::<bool>(), 0..3_u8, prop::option::of(0..2_u8), any::<bool>(), any::<bool>(), depends)
        .prop_map(|(scale, value, probed, network, volume, anonymous, shares, depends)| Sketch {
            scale,
            value,
            probed,
            network,
            volume,
            anonymous,
            shares,
            depends,
        })
}

fn draw(sketches: &[Sketch]) -> Project {
    let mut services: Vec<Service> = Vec::new();
    for (number, sketch) in sketches.iter().enumerate() {
        let mut one = service(&format!("s{number}")).env("VALUE", &sketch.value.to_string()).scaled(sketch.scale);
        one = one.on(&format!("n{}", sketch.network));
        if sketch.probed {
            one = one.probed();
        }
        if let Some(volume) = sketch.volume {
            one = one.mounts(&format!("v{volume}"), "/data");
        }
        if sketch.anonymous {
            one = one.anonymous("/scratch");
        }
        for (index, kind) in &sketch.depends {
            if number == 0 {
                continue;
            }
            let other = &services[index.index(number)];
            let (name, probed, scale) = (other.name.to_string(), other.healthcheck.is_some(), other.scale);
            one = match kind {
                0 if probed => one.needs(&name, Condition::Healthy),
                1 => one.restarts_with(&name),
                2 if sketch.shares && scale > 0 => {
                    let donor = xcompose::values::names::ServiceName::try_from(name.as_str()).unwrap();
                    one.after(&name).with(|s| s.network = NetworkMode::Service(donor))
                }
                _ => one.after(&name),
            };
        }
        services.push(one);
    }
    project(services)
}

/// A step waits only for earlier ones, so no plan is a circle.
fn forward(plan: &Plan) -> bool {
    plan.numbered().all(|(id, step)| step.after.iter().all(|before| *before < id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(
        before in prop::collection::vec(sketch(), 1..7),
        after in prop::collection::vec(sketch(), 1..7),
        force in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let machine = Machine::new();
        machine.shuffle(seed);
        let options = Up {
            orphans: Orphans::Include,
            answers: Answers::Yes,
            recreate: if force { Recreate::Always } else { Recreate::Diverged },
            ..Up::default()
        };
        for sketches in [&before, &after] {
            let project = draw(sketches);
            let plan = machine.plan(&project, &Request::up(&[], options.clone())).unwrap();
            prop_assert!(forward(&plan), "{plan}");
            if let Err(failed) = machine.run(&plan) {
                prop_assert!(false, "{failed}\n{plan}");
            }
            let calm = Request::up(&[], Up { recreate: Recreate::Diverged, ..options.clone() });
            let again = machine.plan(&project, &calm).unwrap();
            prop_assert!(again.is_empty(), "left to do:\n{again}\nafter\n{plan}");
            let wanted: u32 = project.services.values().map(|service| service.scale).sum();
            prop_assert_eq!(machine.containers().len(), wanted as usize);
        }
        let project = draw(&after);
        let down = Request::down(&[], Down { volumes: Volumes::Remove, orphans: Orphans::Include, ..Down::default() });
        let plan = machine.plan(&project, &down).unwrap();
        prop_assert!(forward(&plan), "{plan}");
        if let Err(failed) = machine.run(&plan) {
            prop_assert!(false, "{failed}\n{plan}");
        }
        prop_assert!(machine.containers().is_empty());
    }

    #[test]
    fn a_plan_cut_short_anywhere_is_made_good_by_the_next(
        before in prop::collection::vec(sketch(), 1..5),
        after in prop::collection::vec(sketch(), 1..5),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let machine = Machine::new();
        machine.shuffle(seed);
        let up = Request::up(&[], Up { orphans: Orphans::Include, answers: Answers::Yes, ..Up::default() });
        machine.apply(&draw(&before), &up);
        let project = draw(&after);
        let plan = machine.plan(&project, &up).unwrap();
        machine.cut_after(cut.index(plan.steps().len() + 1));
        let cut = machine.run(&plan);
        let machine = machine.healed();
        machine.shuffle(seed);
        let next = machine.plan(&project, &up).unwrap();
        if let Err(failed) = machine.run(&next) {
            prop_assert!(false, "{failed}\n{next}\nafter {cut:?} of\n{plan}");
        }
        let again = machine.plan(&project, &up).unwrap();
        prop_assert!(again.is_empty(), "left to do:\n{again}\nafter\n{next}\nafter {cut:?} of\n{plan}");
    }

    #[test]
    fn the_same_questions_have_the_same_answers(sketches in prop::collection::vec(sketch(), 1..7)) {
        let machine = Machine::new();
        let project = draw(&sketches);
        let up = Request::up(&[], Up::default());
        let first = machine.plan(&project, &up).unwrap();
        prop_assert_eq!(machine.plan(&project, &up).unwrap(), first);
    }
}
