// What a deployment says before it begins: the remarks of its plan, for its first steps.
import type { Deployment } from "../types.ts";
import type { Remark } from "./journal.ts";
import type { Plan } from "./plan.ts";

export function planRemarks(plan: Plan, { id }: Deployment): readonly Remark[] {
  const { version, bundle, publication } = plan;
  const { model } = version;
  const names = `model ${model} version ${version.version}`;
  if (plan.kind === "unchanged") {
    const stands =
      version.desiredReplicas === 0 ? "is stopped, with 0 replicas, and has" : "is ready already with";
    const message = `${names} ${publication.takesOver ? "already serves" : stands} this content with these settings; nothing to do`;
    return [{ step: "done", message }];
  }
  const { loader, deployer } = bundle.manifest;
  return [
    {
      step: "receive",
      message: `deploying ${names}`,
      details: { deployment: id, model, version: version.version, bundle: bundle.hash },
    },
    checkRemark(plan),
    {
      step: "store",
      message: `bundle ${bundle.hash.slice(0, 12)} is stored (made by ${deployer}, loader ${loader})`,
    },
  ];
}

function checkRemark({ former, version, publication, application }: Plan): Remark {
  const before =
    former === undefined
      ? "the first version of this model"
      : `version ${former.version} serves with ${replicaCount(former.desiredReplicas)}`;
  const then = publication.takesOver ? "" : ", and goes on when this one has passed";
  const change =
    application === undefined ? "no application is changed" : `application ${application.name} will serve it`;
  return {
    step: "check",
    message: `${before}${then}; ${change}`,
    details: {
      former: former?.version ?? null,
      application: application?.name ?? null,
      replicas: version.desiredReplicas,
    },
  };
}

/** "1 replica", "2 replicas". */
export function replicaCount(count: number): string {
  return count === 1 ? "1 replica" : `${count} replicas`;
}
