// Messages to the user. They contain names and texts of agents and programs, in which VS Code would find links, also such
// that run commands, and icons. Only this file calls `show…Message`.
import { window } from "vscode";
import { plain } from "../runs/run";

export const showInformation = (text: string, ...buttons: string[]) => window.showInformationMessage(plain(text), ...buttons);
export const showWarning = (text: string, ...buttons: string[]) => window.showWarningMessage(plain(text), ...buttons);
export const showError = (text: string, ...buttons: string[]) => window.showErrorMessage(plain(text), ...buttons);
/** A dialog that has to be answered, or dismissed with Cancel. */
export const confirm = (text: string, detail: string, ...buttons: string[]) => window.showWarningMessage(plain(text), { modal: true, detail: plain(detail) }, ...buttons);
