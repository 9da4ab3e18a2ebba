// Python models on a running Windjammer: forms, requirements, errors.
import { testDeployments } from "../conformance/deployer.ts";
import { pythonCase } from "../helpers/deployer-cases.ts";

testDeployments(pythonCase);
