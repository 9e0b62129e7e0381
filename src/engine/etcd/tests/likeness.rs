//! Goal: etcd answers as the engine in memory does, which is the seam's table in code. Method: the same script of random
//! verbs on few keys, given to both on clocks that go alike; each answer is compared word for word.

use super::*;
use crate::engine::Memory;

const TOKENS: [&str; 4] = ["a", "b", "c", "d"];
const STEPS: usize = 400;

/// Chance that repeats itself.
struct Dice(u64);

impl Dice {
    fn of(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn maybe<T>(&mut self, own: T) -> Option<T> {
        (self.of(2) == 0).then_some(own)
    }

    /// Some of the keys, in their order.
    fn keys(&mut self) -> Vec<Key> {
        TOKENS.into_iter().filter(|_| self.of(2) == 0).map(key).collect()
    }
}

/// What the script knows: fences that were once asked for, of each key.
struct Script {
    dice: Dice,
    clock: ManualClock,
    epoch: u64,
    fences: Vec<(Key, u64)>,
    count: u64,
}

impl Script {
    /// A fence of that key, mostly of its last claims; or one that nobody has.
    fn fence(&mut self, key: &Key) -> u64 {
        let own: Vec<u64> =
            self.fences.iter().rev().filter(|(own, _)| own == key).map(|(_, fence)| *fence).collect();
        let at = usize::try_from(self.dice.of(4)).unwrap() / 2;
        own.get(at).copied().unwrap_or(fence(self.epoch, 0xffff))
    }

    fn claims(&mut self) -> Vec<Claim> {
        let keys = self.dice.keys();
        let claim = |key: Key| {
            self.count += 1;
            let over = if self.dice.of(3) > 0 { Some(self.fence(&key)) } else { None };
            let own = fence(self.epoch, self.count);
            let lease = MINUTE * u32::try_from(self.dice.of(3)).unwrap();
            let started = self.count.to_string().as_bytes().into();
            self.fences.push((key.clone(), own));
            Claim {
                key,
                fence: own,
                over,
                lease,
                standing: match self.dice.of(3) {
                    0 => Standing::Volatile,
                    1 => Standing::Durable,
                    _ => Standing::Over,
                },
                started,
            }
        };
        keys.into_iter().map(claim).collect()
    }

    fn fenced(&mut self) -> Vec<(Key, u64)> {
        let keys = self.dice.keys();
        keys.into_iter().map(|key| (key.clone(), self.fence(&key))).collect()
    }

    fn deed(&mut self) -> Deed {
        match self.dice.of(20) {
            0 => Deed::Begin(self.dice.maybe("node".to_owned())),
            1 => Deed::End(self.epoch.saturating_sub(self.dice.of(3))),
            2..6 => Deed::Claim(self.claims()),
            6..9 => {
                let expires =
                    self.clock.wall().saturating_add(MINUTE * u32::try_from(self.dice.of(3)).unwrap());
                let own = |(key, fence): (Key, u64)| Completion {
                    key,
                    fence,
                    expires,
                    record: fence.to_string().as_bytes().into(),
                };
                Deed::Complete(self.fenced().into_iter().map(own).collect())
            }
            9..12 => {
                let own = self.fenced().into_iter().map(|(key, fence)| Change {
                    key,
                    fence,
                    lease: self.dice.maybe(MINUTE),
                    standing: Standing::of(i16::try_from(self.dice.of(6)).unwrap()),
                    started: self.dice.maybe(Arc::from(&b"changed"[..])),
                });
                Deed::Change(own.collect())
            }
            12..14 => Deed::Release(self.fenced()),
            14 => Deed::LookUp(self.dice.keys()),
            15 => {
                let own = |(key, fence)| Watch { key, fence, mark: fence };
                Deed::Watch(self.fenced().into_iter().map(own).collect())
            }
            16 => {
                let fenced = self.fenced();
                let over = |(key, fence): (Key, u64)| Forget { over: self.dice.maybe(fence), key };
                Deed::Forget(fenced.into_iter().map(over).collect())
            }
            17 => Deed::Page(self.dice.maybe(key("b")), usize::try_from(self.dice.of(4)).unwrap()),
            18 => Deed::Count,
            _ => {
                self.clock.advance(MINUTE / 2);
                Deed::LookUp(TOKENS.map(key).into())
            }
        }
    }
}

enum Deed {
    Begin(Option<String>),
    End(u64),
    Claim(Vec<Claim>),
    Complete(Vec<Completion>),
    Change(Vec<Change>),
    Release(Vec<(Key, u64)>),
    LookUp(Vec<Key>),
    Watch(Vec<Watch>),
    Forget(Vec<Forget>),
    Page(Option<Key>, usize),
    Count,
}

impl Deed {
    fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin an epoch",
            Self::End(_) => "end an epoch",
            Self::Claim(_) => "claim",
            Self::Complete(_) => "complete",
            Self::Change(_) => "change",
            Self::Release(_) => "release",
            Self::LookUp(_) => "look up",
            Self::Watch(_) => "watch",
            Self::Forget(_) => "forget",
            Self::Page(..) => "page",
            Self::Count => "count",
        }
    }
}

async fn step(engine: &dyn Engine, deed: &Deed) -> String {
    match deed {
        Deed::Begin(node) => format!("{:?}", engine.begin_epoch(node.as_deref()).await.unwrap()),
        Deed::End(epoch) => format!("{:?}", engine.end_epoch(*epoch).await.unwrap()),
        Deed::Claim(own) => format!("{:?}", engine.claim(own).await.unwrap()),
        Deed::Complete(own) => format!("{:?}", engine.complete(own).await.unwrap()),
        Deed::Change(own) => format!("{:?}", engine.change(own).await.unwrap()),
        Deed::Release(own) => format!("{:?}", engine.release(own).await.unwrap()),
        Deed::LookUp(own) => format!("{:?}", engine.look_up(own).await.unwrap()),
        Deed::Watch(own) => format!("{:?}", engine.watch(own).await.unwrap()),
        Deed::Forget(own) => format!("{:?}", engine.forget(own).await.unwrap()),
        Deed::Page(after, most) => format!("{:?}", engine.page(after.as_ref(), *most).await.unwrap()),
        Deed::Count => format!("{:?}", engine.count().await.unwrap()),
    }
}

#[test]
fn etcd_answers_as_memory_does() {
    let Some(server) = shared() else { return };
    for seed in 0..4 {
        let clock = clock();
        let memory = Memory::on(clock.clone());
        let etcd = engine(server, &format!("likeness-{seed}"), &clock);
        let mut script = Script { dice: Dice(seed), clock, epoch: 1, fences: Vec::new(), count: 0 };
        block_on(async {
            ready(&etcd).await;
            let first = Deed::Begin(None);
            step(&memory, &first).await;
            step(&etcd, &first).await;
            for at in 0..STEPS {
                let deed = script.deed();
                // Every fourth is sent again, as one whose answer was lost.
                for time in 0..=u32::from(at % 4 == 3) {
                    let answers = [step(&memory, &deed).await, step(&etcd, &deed).await];
                    assert_eq!(
                        answers[0],
                        answers[1],
                        "seed {seed}, step {at}, time {time}, {}",
                        deed.name()
                    );
                    script.epoch += u64::from(matches!(deed, Deed::Begin(_)));
                }
            }
        });
    }
}
