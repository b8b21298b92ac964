//! The cost of finding a route, with ten routes and with ten thousand: `cargo bench --bench routing`.
//!
//! Compare within one run. With ten thousand routes it must stay within five times that with ten.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ws_consumer::{Application, Error, Router, Scope, Socket};

async fn nothing(_: Socket) -> Result<(), Error> {
    Ok(())
}

/// `/part<n>/{name}/`, `/{name}/part<n>` and `/ws/{name}/part<n>/{id:int}` in turn: literals before, behind and between.
fn router(count: usize) -> Router {
    (0..count).fold(Router::new(), |router, n| {
        let pattern = match n % 3 {
            0 => format!("/part{n}/{{name}}/"),
            1 => format!("/{{name}}/part{n}"),
            _ => format!("/ws/{{name}}/part{n}/{{id:int}}"),
        };
        router.application(&pattern, nothing)
    })
}

fn scope(path: &str) -> Scope {
    let mut scope = Scope::default();
    scope.uri = path.parse().expect("a path");
    scope
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    for count in [10, 10_000] {
        let router = router(count);
        let last = count - count % 3 - 1; // the last of the third kind
        for (name, path) in [
            ("hit", format!("/ws/lobby/part{last}/7")),
            ("last hit", format!("/x/part{}", last - 1)),
            ("miss", "/ws/lobby/nope/7".to_owned()),
        ] {
            let scope = scope(&path);
            assert_eq!(router.claims(&scope), name != "miss", "{path}");
            group.bench_function(format!("{name}, {count} routes"), |bencher| {
                bencher.iter(|| router.claims(black_box(&scope)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
