// Makes an application what a config file asks for: its settings and its link, both or neither.
import type { InputType } from "../../../containers/protocol.ts";
import type { Windjammer } from "../../client/interface.ts";
import { errorFromBody } from "../../error-replies.ts";
import { toWindjammerError } from "../../errors.ts";
import type { Application } from "../../types.ts";
import { currentVersion } from "../served.ts";
import type { WantedApplication } from "./wanted.ts";

/** An application as it was before, and what answered it. */
interface Former {
  readonly name: string;
  readonly application: Application | undefined;
  readonly model: string | undefined;
}

/**
 * With what the file says, and else as it is; linked last, so that no query meets it half done. A step that fails has
 * the former settings and the former link put back.
 * @throws what the server refuses, with what was put back
 */
export async function setUp(wj: Windjammer, { name, model, ...settings }: WantedApplication): Promise<void> {
  const former: Former = {
    name,
    application: (await wj.applications()).find((each) => each.name === name),
    model: (await wj.links()).find((link) => link.application === name)?.model,
  };
  const inputType = await inputTypeOf(wj, model);
  try {
    // To another input type, it cannot be changed while the model of the former one is linked.
    if (former.model !== undefined && former.model !== model && former.application?.inputType !== inputType)
      await wj.unlink(name, former.model);
    await wj.putApplication({ ...former.application, ...settings, name, inputType });
    if (former.model !== model) await wj.link(name, model);
  } catch (error) {
    throw withRemark(error, await putBack(wj, former));
  }
}

async function inputTypeOf(wj: Windjammer, model: string): Promise<InputType> {
  return (await wj.version(model, await currentVersion(wj, model))).manifest.inputType;
}

/** What it says is for the error of the step. Never throws: that error is what counts. */
async function putBack(wj: Windjammer, { name, application, model }: Former): Promise<string> {
  try {
    if (application === undefined) {
      const isThere = (await wj.applications()).some((each) => each.name === name);
      if (isThere) await wj.deleteApplication(name);
      return isThere ? `application ${name} was removed again` : `application ${name} was not made`;
    }
    await wj.putApplication(application);
    if (model === undefined) return `application ${name} is as it was, linked to no model`;
    await wj.link(name, model);
    return `application ${name} is as it was, answered by ${model}`;
  } catch (error) {
    const answer =
      model === undefined
        ? ""
        : `; the former model answers again after PUT /api/v1/applications/${name} with inputType ${application?.inputType} and windjammer link ${name} ${model}`;
    return `application ${name} could not be put back as it was (${toWindjammerError(error).message})${answer}`;
  }
}

function withRemark(thrown: unknown, remark: string): Error {
  const { code, message, details } = toWindjammerError(thrown);
  return errorFromBody({ error: code, message: `${message}; ${remark}`, details });
}
