#!/bin/bash
# PostgreSQL's image runs this once, on an empty volume: a database and its owner for the app, and for Metaflow.
set -euo pipefail

make() {  # name, password
    psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set=name="$1" --set=password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make rayon "$RAYON_DB_PASSWORD"
make metaflow "$METAFLOW_DB_PASSWORD"
