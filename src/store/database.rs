//! A connection to one of two databases, which speak the same SQL here.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use postgres::types::{IsNull, Type, to_sql_checked};
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::fault::{Fault, Outcome};
use super::schema::{self, in_words_of};
use crate::files;

/// The least SQLite: from 3.7.0 to 3.51.2 a database in WAL mode could be damaged.
const MIN_SQLITE: i32 = 3_051_003;

/// The longest that a database may take to be reached, or to be left by others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a database is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In this file.
    Sqlite(PathBuf),
    /// Behind this URL.
    Postgres(String),
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The columns of a row that was read.
#[derive(Debug)]
pub(super) struct Fields(Vec<Value>);

/// A connection.
pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres { client: Box<postgres::Client>, statements: HashMap<&'static str, postgres::Statement> },
}

impl Place {
    /// Connects, and makes the tables that are not there.
    pub(super) fn open(&self) -> Outcome<Connection> {
        let mut connection = self.connect()?;
        connection.begin()?;
        let made = connection.make_tables();
        connection.end(made).map(|()| connection)
    }

    /// Returns what tells the file that has the name now from any other; `None` where there is none, and for a server.
    pub(super) fn file(&self) -> Option<(u64, u64)> {
        match self {
            Self::Sqlite(path) => std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino())),
            Self::Postgres(_) => None,
        }
    }

    /// Connects to a database as it is.
    pub(super) fn connect(&self) -> Outcome<Connection> {
        match self {
            Self::Sqlite(path) => open_sqlite(path),
            Self::Postgres(url) => {
                let mut config: postgres::Config = url.parse()?;
                config.connect_timeout(PATIENCE);
                let client = config.connect(postgres::NoTls)?;
                Ok(Connection::Postgres { client: Box::new(client), statements: HashMap::new() })
            }
        }
    }
}

fn open_sqlite(path: &Path) -> Outcome<Connection> {
    if rusqlite::version_number() < MIN_SQLITE {
        let version = rusqlite::version();
        return Err(Fault::Unusable(format!("SQLite {version} can damage its files; this needs 3.51.3 or newer")));
    }
    if let Some(folder) = path.parent() {
        // That it cannot be made shows in the next step.
        std::fs::create_dir_all(folder).ok();
    }
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        // SQLite waits for ever for a pipe.
        files::check_own(Path::new(&file)).map_err(|error| Fault::Unusable(format!("its file{ending}: {error}")))?;
    }
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 0",
    )?;
    Ok(Connection::Sqlite(connection))
}

impl Connection {
    fn make_tables(&mut self) -> Outcome<()> {
        let is_postgres = matches!(self, Self::Postgres { .. });
        let (first, tables) = schema::TABLES.split_first().unwrap_or((&"", &[]));
        self.batch(&in_words_of(first, is_postgres))?;
        let found = self.query("SELECT version FROM weir_schema", &[])?;
        let before = found.first().map(|row| row.int(0));
        if let Some(version) = before.filter(|version| *version > schema::VERSION) {
            return Err(Fault::Unusable(format!(
                "its schema is of version {version}, and this weir knows {} at most; use a newer weir",
                schema::VERSION
            )));
        }
        for statement in tables {
            self.batch(&in_words_of(statement, is_postgres))?;
        }
        for (version, statement) in schema::ADDED {
            if before.is_some_and(|before| before < *version) {
                self.batch(&in_words_of(statement, is_postgres))?;
            }
        }
        match before {
            Some(schema::VERSION) => Ok(()),
            Some(_) => self.execute("UPDATE weir_schema SET version = ?1", &[schema::VERSION.into()]).map(drop),
            None => {
                self.execute("INSERT INTO prediction_bytes (bytes) VALUES (0)", &[])?;
                self.execute("INSERT INTO weir_schema (version) VALUES (?1)", &[schema::VERSION.into()]).map(drop)
            }
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Outcome<()> {
        match self {
            Self::Sqlite(_) => self.batch("BEGIN IMMEDIATE"),
            // Servers write one after the other, so that each settles a sample from what the others have settled.
            Self::Postgres { .. } => self.batch("BEGIN; SELECT pg_advisory_xact_lock(8750113)"),
        }
    }

    /// Begins a transaction that sees one moment of the database, beside whoever writes.
    pub(super) fn begin_reading(&mut self) -> Outcome<()> {
        match self {
            Self::Sqlite(_) => self.batch("BEGIN"),
            Self::Postgres { .. } => self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        }
    }

    /// Ends a transaction: commits it if all went well, and takes it back otherwise.
    pub(super) fn end<T>(&mut self, done: Outcome<T>) -> Outcome<T> {
        let committed = done.and_then(|value| self.batch("COMMIT").map(|()| value));
        if committed.is_err() {
            // A connection that is gone has taken it back already.
            self.batch("ROLLBACK").ok();
        }
        committed
    }

    /// Says whether what is committed from now on must outlive a loss of power, not only of the process.
    pub(super) fn set_durable(&mut self, durable: bool) -> Outcome<()> {
        match (self, durable) {
            (Self::Sqlite(connection), true) => Ok(connection.execute_batch("PRAGMA synchronous = FULL")?),
            (Self::Sqlite(connection), false) => Ok(connection.execute_batch("PRAGMA synchronous = NORMAL")?),
            (Self::Postgres { client, .. }, true) => Ok(client.batch_execute("SET synchronous_commit = on")?),
            (Self::Postgres { client, .. }, false) => Ok(client.batch_execute("SET synchronous_commit = off")?),
        }
    }

    /// Says whether what is deleted from now on is overwritten in the file.
    pub(super) fn set_overwriting(&mut self, overwriting: bool) -> Outcome<()> {
        match (self, overwriting) {
            (Self::Sqlite(connection), true) => Ok(connection.execute_batch("PRAGMA secure_delete = ON")?),
            (Self::Sqlite(connection), false) => Ok(connection.execute_batch("PRAGMA secure_delete = OFF")?),
            // It removes what is deleted when it next vacuums the table.
            (Self::Postgres { .. }, _) => Ok(()),
        }
    }

    /// Brings the log of changes into the file and empties it.
    pub(super) fn checkpoint(&mut self) -> Outcome<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?),
            Self::Postgres { .. } => Ok(()),
        }
    }

    /// Gives freed pages of a file back to the system; PostgreSQL does that itself.
    pub(super) fn give_back(&mut self) -> Outcome<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch("PRAGMA incremental_vacuum(2000)")?),
            Self::Postgres { .. } => Ok(()),
        }
    }

    /// Runs statements without values.
    pub(super) fn batch(&mut self, statements: &str) -> Outcome<()> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(statements)?),
            Self::Postgres { client, .. } => Ok(client.batch_execute(statements)?),
        }
    }

    /// Runs a statement, whose values are called `?1`, `?2`, …; returns the number of rows it changed.
    pub(super) fn execute(&mut self, statement: &'static str, values: &[Value]) -> Outcome<u64> {
        match self {
            Self::Sqlite(connection) => {
                let mut prepared = connection.prepare_cached(statement)?;
                Ok(prepared.execute(rusqlite::params_from_iter(values))? as u64)
            }
            Self::Postgres { client, statements } => {
                let prepared = prepared(client, statements, statement)?;
                Ok(client.execute(&prepared, &of_postgres(values))?)
            }
        }
    }

    /// Returns the rows that a statement gives.
    pub(super) fn query(&mut self, statement: &'static str, values: &[Value]) -> Outcome<Vec<Fields>> {
        match self {
            Self::Sqlite(connection) => {
                let mut prepared = connection.prepare_cached(statement)?;
                let columns = prepared.column_count();
                let mut rows = prepared.query(rusqlite::params_from_iter(values))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    let fields = (0..columns).map(|column| Ok(Value::of_sqlite(row.get_ref(column)?)));
                    found.push(Fields(fields.collect::<rusqlite::Result<_>>()?));
                }
                Ok(found)
            }
            Self::Postgres { client, statements } => {
                let prepared = prepared(client, statements, statement)?;
                let rows = client.query(&prepared, &of_postgres(values))?;
                Ok(rows.iter().map(Fields::of_postgres).collect::<Result<_, _>>()?)
            }
        }
    }
}

fn of_postgres(values: &[Value]) -> Vec<&(dyn postgres::types::ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn postgres::types::ToSql + Sync)).collect()
}

fn prepared(
    client: &mut postgres::Client,
    statements: &mut HashMap<&'static str, postgres::Statement>,
    statement: &'static str,
) -> Outcome<postgres::Statement> {
    if let Some(prepared) = statements.get(statement) {
        return Ok(prepared.clone());
    }
    let prepared = client.prepare(&statement.replace('?', "$"))?;
    statements.insert(statement, prepared.clone());
    Ok(prepared)
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        })
    }
}

impl Fields {
    fn of_postgres(row: &postgres::Row) -> Result<Self, postgres::Error> {
        let field = |(index, column): (usize, &postgres::Column)| {
            let value = match *column.type_() {
                Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Value::Int),
                Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|value| Value::Int(value.into())),
                Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.map(Value::Bytes),
                _ => row.try_get::<_, Option<String>>(index)?.map(Value::Text),
            };
            Ok(value.unwrap_or(Value::Null))
        };
        Ok(Self(row.columns().iter().enumerate().map(field).collect::<Result<_, _>>()?))
    }

    /// Returns an integer; 0 for NULL, which a sum over nothing is.
    pub(super) fn int(&self, column: usize) -> i64 {
        self.maybe_int(column).unwrap_or_default()
    }

    pub(super) fn maybe_int(&self, column: usize) -> Option<i64> {
        match self.0.get(column) {
            Some(Value::Int(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, column: usize) -> &str {
        match self.0.get(column) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn maybe_text(&self, column: usize) -> Option<String> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, column: usize) -> &[u8] {
        match self.0.get(column) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }
}

impl Value {
    fn of_sqlite(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_vec()),
            // No column is of real numbers.
            ValueRef::Null | ValueRef::Real(_) => Self::Null,
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl postgres::types::ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => value.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<uuid::Uuid> for Value {
    fn from(id: uuid::Uuid) -> Self {
        Self::Bytes(id.as_bytes().to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
