-- mode(): what the flags and the rollout rows say for one restaurant now; null asks for the fleet.
CREATE FUNCTION assignment_v3.mode(
	restaurant_id uuid DEFAULT NULL,
	OUT mode text,
	OUT reason text)
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_mode';
COMMENT ON FUNCTION assignment_v3.mode(uuid) IS
	'the effective mode (active, shadow or disabled) and which word decided it';

-- flag_accepts(): would SET take this value?
CREATE FUNCTION assignment_v3.flag_accepts(name text, value text)
RETURNS boolean
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'assignment_flag_accepts';
COMMENT ON FUNCTION assignment_v3.flag_accepts(text, text) IS
	'whether a setting of this extension would take a value';

-- binding_changed(): the trigger that tells every session that attach() or detach() has run.
CREATE FUNCTION assignment_v3.binding_changed()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'assignment_binding_changed';
COMMENT ON FUNCTION assignment_v3.binding_changed() IS
	'trigger: makes sessions read anew what is attached';

-- library_version(): the version that the loaded library was built as.
CREATE FUNCTION assignment_v3.library_version()
RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'assignment_library_version';
COMMENT ON FUNCTION assignment_v3.library_version() IS
	'version of the shared library that this session has loaded';

-- grant_flags(): lets a role set the flags.  The extension's owner has that right from the start.
-- Errors: 42501 without the right to grant SET on the parameters, PT422 null.
CREATE FUNCTION assignment_v3.grant_flags(grantee regrole)
RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'assignment_grant_flags';
COMMENT ON FUNCTION assignment_v3.grant_flags(regrole) IS
	'grants SET on every parameter of this extension to a role; for a superuser';
