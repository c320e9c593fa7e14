//! What the server observes of its predictions, keeps, and is told about them.

mod alarms;
mod capture;
mod drift;
mod durability;
mod feedback;
mod guard;
mod predictions;
mod receipts;
mod records;
pub(crate) mod sinks;
mod traces;

/// A database for tests.
pub(crate) enum Database {
    /// A file in the state folder.
    File,
    /// A schema of its own behind `WEIR_TEST_POSTGRES`, a URL without a query.
    Postgres(String),
}

impl Database {
    /// What `--database` says.
    pub(crate) fn url(&self) -> Option<String> {
        match self {
            Self::File => None,
            Self::Postgres(url) => Some(url.clone()),
        }
    }
}

/// SQLite, and PostgreSQL where there is one.
pub(crate) fn databases() -> Vec<Database> {
    let mut databases = vec![Database::File];
    if let Ok(server) = std::env::var("WEIR_TEST_POSTGRES") {
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let url = server.clone();
        // Its client has a runtime of its own.
        std::thread::spawn({
            let schema = schema.clone();
            move || {
                let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
                client.batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
            }
        })
        .join()
        .unwrap();
        databases.push(Database::Postgres(format!("{server}?options=-csearch_path%3D{schema}")));
    }
    databases
}
