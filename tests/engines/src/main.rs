//! A process of the service, to be killed: see `worker`.

use std::process::ExitCode;

use oncekey_engines::worker::Order;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let order = match Order::of_words(&words) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = order.run() {
        println!("wrong {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
