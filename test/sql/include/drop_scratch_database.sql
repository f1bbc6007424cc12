-- Leaves the database that scratch_database.sql has made, and drops it.
\c :origin
DROP DATABASE :"database";
