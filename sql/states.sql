-- transitions(): every legal step and who may take it.
CREATE FUNCTION assignment_v3.transitions(
	OUT from_state text, OUT to_state text, OUT kind text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'assignment_transitions';
COMMENT ON FUNCTION assignment_v3.transitions() IS
	'the legal steps of the state machine: automatic, operator or external';

-- allowed_transitions(): the legal steps from one state.
-- Errors: PT422 no such state.
CREATE FUNCTION assignment_v3.allowed_transitions(
	from_state text, OUT to_state text, OUT kind text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'assignment_allowed_transitions';
COMMENT ON FUNCTION assignment_v3.allowed_transitions(text) IS
	'the legal steps from one state; none for null';

-- state_diagram(): the state machine as a picture's source.
-- Errors: PT422 unknown format.
CREATE FUNCTION assignment_v3.state_diagram(format text DEFAULT 'mermaid')
RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'assignment_state_diagram';
COMMENT ON FUNCTION assignment_v3.state_diagram(text) IS
	'the state machine as a mermaid or dot diagram';
