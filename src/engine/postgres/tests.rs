//! Goal: the engine does what the table of the seam says, beside others and across faults. Method: a private server of the
//! installed `PostgreSQL`, one for all tests, without fsync; a schema for each test, whose `clock()` the test replaces where
//! time matters. Where no `PostgreSQL` is installed every test says so and passes.
//!
//! | file | what is tested |
//! | --- | --- |
//! | `server` | (the server and the bench that tests stand on) |
//! | `verbs` | each verb, alone, and sent again |
//! | `races` | claims of many at once, and beside completions |
//! | `making` | the schema and its partitions |
//! | `faults` | what is told of what went wrong; connection strings |

mod faults;
mod making;
mod races;
mod server;
mod verbs;
